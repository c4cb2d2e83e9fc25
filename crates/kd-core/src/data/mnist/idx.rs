//! MNIST as IDX files in a directory, plain or gzipped, directly or in torchvision's `MNIST/raw/`
//! below it. Names are those of the original, with `.gz` or without it, or with a point in place of
//! the second hyphen (`train-images.idx3-ubyte`), as zip archives of it have them. Whether a file is
//! gzipped is told by its first bytes.
//!
//! An IDX file is a big-endian header (magic number 2051 and number, rows, columns for images; 2049
//! and number for labels) and then the bytes. No size in a header is believed before the bytes are
//! there: memory grows with what was read, never with what was claimed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::set::{CLASSES, Mnist, SIDE};
use crate::data::gunzip::Gunzip;
use crate::data::{DataError, LabelledImages};
use crate::file_kind::{self, FileKind};

/// The four files, each also looked for with `.gz` behind it and with `.idx` in place of `-idx`:
/// training images and labels, test images and labels.
pub const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

const IMAGES_MAGIC: u32 = 2051;
const LABELS_MAGIC: u32 = 2049;
/// A bound on what a gzip stream may unfold to (784 MB of pixels); the largest relative of MNIST,
/// QMNIST, has 402,953 images.
const MAX_ITEMS: u64 = 1_000_000;

/// Reads the four files of `dir`, or of `dir/MNIST/raw` where `dir` has none of them. A plain file
/// is preferred to its `.gz`.
///
/// # Errors
/// [`DataError::MissingFiles`] with the names that were looked for; otherwise what is wrong with
/// the first bad file: its magic number, counts, image size, length (short or long), labels above
/// 9, gzip stream.
pub fn load_dir(dir: &Path) -> Result<Mnist, DataError> {
    let [train_images, train_labels, test_images, test_labels] = find(dir)?;
    Ok(Mnist {
        train: read_set(&train_images, &train_labels)?,
        test: read_set(&test_images, &test_labels)?,
    })
}

/// The set as the bytes of an IDX image file, header included.
pub fn encode_images(set: &LabelledImages) -> Vec<u8> {
    let header = [IMAGES_MAGIC, set.len() as u32, set.rows as u32, set.cols as u32];
    let mut bytes: Vec<u8> = header.iter().flat_map(|n| n.to_be_bytes()).collect();
    bytes.extend_from_slice(&set.images);
    bytes
}

/// The set's classes as the bytes of an IDX label file, header included.
pub fn encode_labels(set: &LabelledImages) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [LABELS_MAGIC, set.len() as u32].iter().flat_map(|n| n.to_be_bytes()).collect();
    bytes.extend_from_slice(&set.labels);
    bytes
}

fn find(dir: &Path) -> Result<[PathBuf; 4], DataError> {
    let mut missing = Vec::new();
    for place in [dir.to_path_buf(), dir.join("MNIST").join("raw")] {
        let found = FILES.map(|name| {
            let dotted = name.replace("-idx", ".idx");
            [name.to_owned(), dotted.clone(), format!("{name}.gz"), format!("{dotted}.gz")]
                .into_iter()
                .map(|name| place.join(name))
                .find(|path| path.is_file())
        });
        match found {
            [Some(a), Some(b), Some(c), Some(d)] => return Ok([a, b, c, d]),
            found if found.iter().any(Option::is_some) || missing.is_empty() => {
                missing = FILES
                    .iter()
                    .zip(&found)
                    .filter(|(_, path)| path.is_none())
                    .map(|(&name, _)| name)
                    .collect();
            }
            _ => {}
        }
    }
    let places = "plain or .gz, with -idx or .idx, in this directory or in its MNIST/raw";
    Err(DataError::MissingFiles {
        dataset: "MNIST",
        dir: dir.to_path_buf(),
        missing: missing.join(", "),
        places,
    })
}

fn read_set(images: &Path, labels: &Path) -> Result<LabelledImages, DataError> {
    let pixels = read_images(images)?;
    let n = pixels.len() / (SIDE * SIDE);
    let classes = read_labels(labels)?;
    if classes.len() != n {
        return Err(DataError::LabelCount {
            path: labels.to_path_buf(),
            images: n,
            labels: classes.len(),
        });
    }
    Ok(LabelledImages::grey(pixels, classes, SIDE, SIDE, CLASSES))
}

fn read_images(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut file = Body::open(path)?;
    let [n, rows, cols] = file.header(IMAGES_MAGIC)?;
    if (rows, cols) != (SIDE as u64, SIDE as u64) {
        return Err(DataError::Dimensions { path: path.to_path_buf(), rows, cols });
    }
    file.items("images", n, rows * cols)
}

fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut file = Body::open(path)?;
    let [n] = file.header(LABELS_MAGIC)?;
    let labels = file.items("labels", n, 1)?;
    match labels.iter().position(|&l| usize::from(l) >= CLASSES) {
        Some(row) => Err(DataError::Label {
            path: path.to_path_buf(),
            row,
            max: CLASSES as u8 - 1,
            got: i64::from(labels[row]),
        }),
        None => Ok(labels),
    }
}

/// A file being read, decoded on the way where it is gzipped.
struct Body<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    gzip: bool,
}

impl<'a> Body<'a> {
    fn open(path: &'a Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_path_buf(), source };
        let (kind, file) = file_kind::look(File::open(path).map_err(io)?).map_err(io)?;
        let gzip = kind == FileKind::Gzip;
        if !gzip && !matches!(kind, FileKind::Other | FileKind::Zeros) {
            return Err(DataError::Kind {
                path: path.to_path_buf(),
                expected: "an IDX file, plain or gzipped".to_owned(),
                got: kind,
            });
        }
        let reader: Box<dyn Read> = match gzip {
            true => Box::new(Gunzip::new(file)),
            false => Box::new(file),
        };
        Ok(Self { path, reader, gzip })
    }

    fn header<const N: usize>(&mut self, magic: u32) -> Result<[u64; N], DataError> {
        let expected = 4 * (N + 1);
        let bytes = self.up_to(expected as u64)?;
        let words: Vec<u32> =
            bytes.chunks_exact(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])).collect();
        if let Some(&got) = words.first().filter(|&&got| got != magic) {
            return Err(DataError::Magic { path: self.path.to_path_buf(), expected: magic, got });
        }
        if bytes.len() < expected {
            return Err(self.size("header", expected as u64, bytes.len() as u64));
        }
        let mut sizes = [0; N];
        for (size, &word) in sizes.iter_mut().zip(&words[1..]) {
            *size = u64::from(word);
        }
        Ok(sizes)
    }

    fn items(&mut self, what: &'static str, n: u64, bytes_each: u64) -> Result<Vec<u8>, DataError> {
        if n == 0 || n > MAX_ITEMS {
            return Err(DataError::Count {
                path: self.path.to_path_buf(),
                what,
                max: MAX_ITEMS,
                got: n,
            });
        }
        let expected = n * bytes_each;
        // One byte more than expected shows whether the file goes on, and makes the gzip decoder
        // reach and check its trailer.
        let bytes = self.up_to(expected + 1)?;
        if bytes.len() as u64 != expected {
            return Err(self.size(what, expected, bytes.len() as u64));
        }
        Ok(bytes)
    }

    fn up_to(&mut self, limit: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let result = self.reader.by_ref().take(limit).read_to_end(&mut bytes);
        match result {
            Ok(_) => Ok(bytes),
            Err(source) if self.gzip && source.raw_os_error().is_none() => {
                Err(DataError::Gzip { path: self.path.to_path_buf(), reason: source.to_string() })
            }
            Err(source) => Err(DataError::Io { path: self.path.to_path_buf(), source }),
        }
    }

    fn size(&self, what: &'static str, expected: u64, got: u64) -> DataError {
        DataError::Size { path: self.path.to_path_buf(), what, expected, got }
    }
}
