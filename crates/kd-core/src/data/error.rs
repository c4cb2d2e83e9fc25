//! What can be wrong with data: one line each, naming the file, what was expected and what was got.

use std::path::PathBuf;

use kd_base::message::count;
use kd_base::{Blame, Fault};

use crate::file_kind::FileKind;

/// Why a data set could not be found, read or cut up.
///
/// All variants are bad input (a file, a network, an argument), except [`DataError::Index`],
/// [`DataError::Row`], [`DataError::Length`] and [`DataError::Tensor`], which a correct program
/// does not meet.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file could not be opened or read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A data directory in which some or all of the files are missing.
    #[error("{}: {dataset} files not found: {missing} ({places})", .dir.display())]
    MissingFiles {
        /// The data set's name.
        dataset: &'static str,
        /// The directory that was given.
        dir: PathBuf,
        /// The names that were looked for in vain, separated by commas.
        missing: String,
        /// Where they were looked for.
        places: &'static str,
    },
    /// Another kind of file, told by its first bytes.
    #[error("{}: expected {expected}, got {got}", .path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        got: FileKind,
    },
    /// The first four bytes are not those of the format.
    #[error("{}: expected magic number {expected}, got {got}", .path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// The format's number.
        expected: u32,
        /// The file's number.
        got: u32,
    },
    /// Images of another size.
    #[error("{}: expected images of 28x28, got {rows}x{cols}", .path.display())]
    Dimensions {
        /// The file.
        path: PathBuf,
        /// Rows that the header claims.
        rows: u64,
        /// Columns that the header claims.
        cols: u64,
    },
    /// More items than this reader is willing to hold, or none.
    #[error("{}: expected 1 to {max} {what}, got {got}", .path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// What is counted.
        what: &'static str,
        /// The largest number accepted.
        max: u64,
        /// The number that the file claims.
        got: u64,
    },
    /// The file ends early, or goes on where it should end.
    #[error("{}: expected {expected} bytes of {what}, got {}", .path.display(), size(*.got, *.expected))]
    Size {
        /// The file.
        path: PathBuf,
        /// The part that is short or long.
        what: &'static str,
        /// Bytes that the header calls for.
        expected: u64,
        /// Bytes there are; `expected + 1` stands for more than expected.
        got: u64,
    },
    /// A file that should be a gzipped tar archive.
    #[error("{}: expected a whole .tar.gz archive, got {reason}", .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that should be a pickle of images.
    #[error("{}: expected a pickle of {expected}, got {reason}", .path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The gzip stream cannot be decoded.
    #[error("{}: not a whole gzip file: {reason}", .path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// A label outside of the classes.
    #[error("{}: expected labels of 0 to {max}, got {got} in row {row}", .path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// The row, counted from 0.
        row: usize,
        /// The largest label.
        max: u8,
        /// The label.
        got: i64,
    },
    /// As many labels as images are needed.
    #[error("{}: expected {images} labels, one for each image, got {labels}", .path.display())]
    LabelCount {
        /// The file of labels.
        path: PathBuf,
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A Parquet file that is corrupt or has other columns.
    #[error("{}: expected a Parquet table of images and labels, got {reason}", .path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Parquet file that is corrupt or does not hold sentence pairs.
    #[error("{}: expected a Parquet table of translations, got {reason}", .path.display())]
    Translations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a text file that cannot be used.
    #[error("{}: line {line}: expected {expected}, got {got}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Two files of one text that should have the same number of lines.
    #[error("{}: expected {}, one for each of {}, got {got}", .path.display(), count(*.expected, "line"), .other.display())]
    LineCount {
        /// The file.
        path: PathBuf,
        /// The file that it belongs to.
        other: PathBuf,
        /// Lines of that file.
        expected: usize,
        /// Lines of this file.
        got: usize,
    },
    /// A vocabulary that cannot be used, or belongs to something else.
    #[error("{found}: expected a vocabulary {expected}, got {got}")]
    Vocabulary {
        /// The file, or whose vocabulary it is.
        found: String,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The hub could not be asked, or did not give the file.
    #[error(
        "{dataset}: not in the Hugging Face cache and not downloaded from {endpoint}: {reason}"
    )]
    Unreachable {
        /// The data set's name on the hub.
        dataset: String,
        /// The server that was asked.
        endpoint: String,
        /// Why there is no file, in one line.
        reason: String,
    },
    /// The hub's cache on this machine could not be used.
    #[error("{dataset}: the Hugging Face cache in {} failed: {reason}", .cache.display())]
    Cache {
        /// The data set's name on the hub.
        dataset: String,
        /// The cache's directory.
        cache: PathBuf,
        /// What went wrong, in one line.
        reason: String,
    },
    /// A file in the hub's cache that cannot be used. Deleting the file alone would not help: the
    /// hub's clients take a file that another name in the folder still points to.
    #[error("{source}; delete {}, and it is downloaded again", .folder.display())]
    Cached {
        /// What is wrong with it.
        source: Box<DataError>,
        /// The data set's folder in the cache.
        folder: PathBuf,
    },
    /// A file that does not begin and end as its name says.
    #[error("{}: expected {expected}, got {got}", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What its name says.
        expected: &'static str,
        /// What it looks like.
        got: &'static str,
    },
    /// A file of the hub's cache that is not the one that the hub published.
    #[error(
        "{}: expected the file that the hub published, with SHA-256 {expected}, got {got}",
        .path.display()
    )]
    Hash {
        /// The file.
        path: PathBuf,
        /// The SHA-256 that was published.
        expected: String,
        /// The SHA-256 of what is there.
        got: String,
    },
    /// Files that are well formed and hold something else.
    #[error("{found}: expected the images and labels of {dataset} ({expected}), got {got}")]
    Content {
        /// The data set's name.
        dataset: &'static str,
        /// Where the files are.
        found: String,
        /// What tells that data set: its content hash, or its numbers of images.
        expected: String,
        /// The same of what was read.
        got: String,
    },
    /// Parallel text that is well formed and something else than asked for.
    #[error("{found}: expected the sentence pairs of {dataset} ({expected}), got {got}")]
    Corpus {
        /// The data set's name.
        dataset: &'static str,
        /// Where the files are.
        found: String,
        /// What tells that data set: its content hash, or its numbers of pairs.
        expected: String,
        /// The same of what was read.
        got: String,
    },
    /// A folder of images that is not laid out as one.
    #[error("{}: expected {expected}, got {got}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A directory was given together with generated data.
    #[error("{}: expected no data directory with generated data, got one", .dir.display())]
    DirectoryUnused {
        /// The directory that was given.
        dir: PathBuf,
    },
    /// An argument outside of its domain.
    #[error("{what}: expected {expected}, got {got}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// Its domain.
        expected: String,
        /// Its value.
        got: String,
    },
    /// A row number outside of the data set.
    #[error("image index: expected less than {len}, got {index}")]
    Index {
        /// The row asked for.
        index: usize,
        /// The number of rows.
        len: usize,
    },
    /// A sentence pair outside of the set.
    #[error("sentence pair: expected less than {len}, got {row}")]
    Row {
        /// The pair asked for.
        row: usize,
        /// The number of pairs.
        len: usize,
    },
    /// A buffer of the wrong length.
    #[error("{what}: expected {expected} elements, got {got}")]
    Length {
        /// The buffer.
        what: &'static str,
        /// The length needed.
        expected: usize,
        /// The length given.
        got: usize,
    },
    /// Candle could not build a tensor.
    #[error("tensor: {0}")]
    Tensor(#[from] candle_core::Error),
}

fn size(got: u64, expected: u64) -> String {
    if got > expected { "more".to_string() } else { got.to_string() }
}

impl Blame for DataError {
    fn fault(&self) -> Fault {
        match self {
            Self::Index { .. } | Self::Row { .. } | Self::Length { .. } | Self::Tensor(_) => {
                Fault::Program
            }
            Self::Cached { source, .. } => source.fault(),
            _ => Fault::BadInput,
        }
    }
}
