//! Sentence pairs in Parquet tables as the Hugging Face hub converts them: a column `translation`
//! with a string for each language.
//!
//! Tables are streamed. Memory holds a page of each column (1 MB in the hub's files, at most 64
//! MiB) and some rows, whatever the size of the file.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::{Compression, Type};
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};

use super::jsonl::one_line;
use super::languages::Languages;
use super::lines::MAX_LINE;
use super::pairs::{Bitext, is_spread};
use kd_core::data::DataError;
use kd_core::data::page_headers::{self, Limits};
use kd_core::file_kind::{self, FileKind};

/// The largest page accepted after decompression.
const MAX_PAGE: i64 = 1 << 26;
/// Rows of a file; WMT14's longest has 1.5 million.
const MAX_ROWS: i64 = 1 << 32;
/// The most memory that a table's text may take, by the bytes of its file, and for a small file: a
/// dictionary can hold one sentence for billions of rows. Real text unfolds to about three times
/// its file.
const MAX_UNFOLDED: u64 = 64;
const MIN_ROOM: u64 = 1 << 26;
/// Rows decoded at a time.
const STEP: usize = 1024;

/// The pairs of one or more tables in order. After an error there are no more.
///
/// Items are errors of [`DataError::Translations`] (a file that is corrupt, has other columns,
/// nulls, bytes that are not UTF-8 or a sentence of more than [`MAX_LINE`] bytes) and
/// [`DataError::Io`]. Sentences are trimmed, and line breaks in them become spaces.
pub struct Translations {
    columns: [String; 2],
    /// Files that are still to be read, the next one last.
    files: Vec<PathBuf>,
    total: u64,
    table: Option<Table>,
    ready: VecDeque<(String, String)>,
}

impl Translations {
    /// Opens tables and reads how many rows they have; nothing else is read yet.
    ///
    /// # Errors
    /// [`DataError::Translations`] for a file that is no table; [`DataError::Count`] for one with
    /// no rows, or too many; [`DataError::Io`].
    pub fn open(files: &[PathBuf], languages: &Languages) -> Result<Self, DataError> {
        let columns =
            [languages.source(), languages.target()].map(|code| format!("translation.{code}"));
        let mut total = 0;
        for path in files {
            total += guarded(path, || Table::open(path))?.rows;
        }
        let files = files.iter().rev().cloned().collect();
        Ok(Self { columns, files, total, table: None, ready: VecDeque::new() })
    }

    /// Number of pairs, from the tables' headers.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The first `limit` pairs of what is left.
    ///
    /// # Errors
    /// The first error among them.
    pub fn first(self, limit: usize) -> Result<Bitext, DataError> {
        self.take(limit).collect()
    }

    /// `limit` pairs, evenly spaced over all tables (see [`Bitext::evenly_spaced`]), or all where
    /// there are no more. To be called before any pair is taken.
    ///
    /// # Errors
    /// The first error in the tables.
    pub fn evenly_spaced(self, limit: usize) -> Result<Bitext, DataError> {
        let (total, limit) = (self.total, limit as u64);
        let kept = self
            .enumerate()
            .filter(|(i, pair)| pair.is_err() || is_spread(*i as u64, total, limit));
        kept.map(|(_, pair)| pair).collect()
    }

    /// Decodes some more rows. False at the end of the last table.
    fn refill(&mut self) -> Result<bool, DataError> {
        loop {
            if let Some(mut table) = self.table.take() {
                let path = table.path.clone();
                // A table whose decoding panicked is dropped with its half-read state.
                let more = guarded(&path, || table.decode(&self.columns, &mut self.ready))?;
                if more {
                    self.table = Some(table);
                    return Ok(true);
                }
            }
            let Some(path) = self.files.pop() else { return Ok(false) };
            self.table = Some(guarded(&path, || Table::open(&path))?);
        }
    }
}

impl Iterator for Translations {
    type Item = Result<(String, String), DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty()
            && let Err(e) = self.refill()
        {
            self.files.clear();
            self.ready.clear();
            return Some(Err(e));
        }
        self.ready.pop_front().map(Ok)
    }
}

/// Runs `read`; what panics in it is an error. The parquet crate still panics on some malformed
/// files, and a corrupt download must not end the program with a backtrace.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(DataError::Translations {
            path: path.to_path_buf(),
            reason: "pages that cannot be decoded".to_string(),
        })
    })
}

type Column = ColumnReaderImpl<ByteArrayType>;

/// A table half read.
struct Table {
    path: PathBuf,
    file: File,
    reader: SerializedFileReader<File>,
    rows: u64,
    /// Bytes that its text may still take.
    room: u64,
    /// Rows decoded so far.
    done: u64,
    /// The next row group.
    next: usize,
    /// The current one: its columns and the rows left in it.
    group: Option<([Column; 2], usize)>,
}

impl Table {
    fn open(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_path_buf(), source };
        let fault = |reason: String| DataError::Translations { path: path.to_path_buf(), reason };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let got = file_kind::of_file(path).map_err(io)?;
        if got != FileKind::Parquet {
            return Err(fault(got.to_string()));
        }
        // Statistics in page headers are not used, and reading them would allocate what they claim.
        let properties = ReaderProperties::builder()
            .set_read_page_statistics(false)
            .set_read_bloom_filter(false)
            .build();
        let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
        let reader = SerializedFileReader::new_with_options(file.try_clone().map_err(io)?, options)
            .map_err(|e| fault(kd_base::message::with_causes(&e)))?;
        let rows = reader.metadata().file_metadata().num_rows();
        if !(1..=MAX_ROWS).contains(&rows) {
            let got = u64::try_from(rows).unwrap_or(0);
            return Err(DataError::Count {
                path: path.to_path_buf(),
                what: "rows",
                max: MAX_ROWS as u64,
                got,
            });
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            reader,
            rows: rows as u64,
            room: bytes.saturating_mul(MAX_UNFOLDED).max(MIN_ROOM),
            done: 0,
            next: 0,
            group: None,
        })
    }

    /// Appends some rows to `pairs`, at least one; false at the end of the table.
    fn decode(
        &mut self,
        names: &[String; 2],
        pairs: &mut VecDeque<(String, String)>,
    ) -> Result<bool, DataError> {
        let path = self.path.clone();
        let fault = |reason: String| DataError::Translations { path: path.clone(), reason };
        loop {
            if let Some((columns, left)) = &mut self.group
                && *left > 0
            {
                let n = STEP.min(*left);
                let [source, target] = columns;
                let rows = self.done;
                let source = strings(source, n, rows, &mut self.room)
                    .map_err(|e| fault(format!("column {}: {e}", names[0])))?;
                let target = strings(target, n, rows, &mut self.room)
                    .map_err(|e| fault(format!("column {}: {e}", names[1])))?;
                pairs.extend(source.into_iter().zip(target));
                *left -= n;
                self.done += n as u64;
                return Ok(true);
            }
            if self.next == self.reader.num_row_groups() {
                return if self.done == self.rows {
                    Ok(false)
                } else {
                    Err(fault(format!(
                        "{} rows in its groups where its header says {}",
                        self.done, self.rows
                    )))
                };
            }
            self.group = Some(self.open_group(names).map_err(fault)?);
            self.next += 1;
        }
    }

    fn open_group(&mut self, names: &[String; 2]) -> Result<([Column; 2], usize), String> {
        let group =
            self.reader.get_row_group(self.next).map_err(|e| kd_base::message::with_causes(&e))?;
        let n = group.metadata().num_rows();
        let left = self.rows - self.done;
        let rows = usize::try_from(n).ok().filter(|&n| n as u64 <= left);
        let rows = rows.ok_or_else(|| format!("a row group of {n} rows where {left} are left"))?;
        let [source, target] = names;
        let source = open_column(group.as_ref(), &mut self.file, source, rows)?;
        Ok(([source, open_column(group.as_ref(), &mut self.file, target, rows)?], rows))
    }
}

/// A column of one string for each of `n` rows, whose pages have been looked at.
fn open_column(
    group: &dyn RowGroupReader,
    file: &mut File,
    name: &str,
    n: usize,
) -> Result<Column, String> {
    let at = |reason: String| format!("column {name}: {reason}");
    let column = group
        .metadata()
        .columns()
        .iter()
        .enumerate()
        .find(|(_, c)| c.column_path().string() == name);
    let (index, meta) = column.ok_or_else(|| format!("no column {name}"))?;
    if meta.column_type() != Type::BYTE_ARRAY || meta.column_descr().max_rep_level() != 0 {
        return Err(at(format!(
            "type {} where one string for each row was expected",
            meta.column_type()
        )));
    }
    // The other codecs unfold without a bound.
    if !matches!(
        meta.compression(),
        Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::ZSTD(_)
            | Compression::LZ4_RAW
    ) {
        return Err(at(format!(
            "compression {}, expected none, SNAPPY, ZSTD or LZ4_RAW",
            meta.compression()
        )));
    }
    let start = meta.dictionary_page_offset().unwrap_or_else(|| meta.data_page_offset());
    let length = file.metadata().map_err(|e| at(e.to_string()))?.len();
    let chunk = u64::try_from(start).ok().zip(u64::try_from(meta.compressed_size()).ok());
    let (start, size) = chunk
        .filter(|(start, size)| start.checked_add(*size).is_some_and(|end| end <= length))
        .ok_or_else(|| at("pages outside of the file".to_string()))?;
    let limits = Limits { page_bytes: MAX_PAGE, dictionary: n as i64, values: n as i64 };
    page_headers::check_file(file, start, size, limits).map_err(at)?;
    let reader =
        group.get_column_reader(index).map_err(|e| at(kd_base::message::with_causes(&e)))?;
    Ok(get_typed_column_reader::<ByteArrayType>(reader))
}

/// The next `n` strings of a column, the first of which is row `row` of the table. What they take is
/// taken from `room`.
fn strings(column: &mut Column, n: usize, row: u64, room: &mut u64) -> Result<Vec<String>, String> {
    let mut levels = Vec::new();
    let mut values: Vec<ByteArray> = Vec::new();
    let read = column.read_records(n, Some(&mut levels), None, &mut values);
    let (records, read, _) = read.map_err(|e| kd_base::message::with_causes(&e))?;
    if records != n || read != n || values.len() != n {
        return Err(format!("{} values in {n} rows from row {row} on", values.len()));
    }
    let text = |(i, value): (usize, &ByteArray)| {
        let at = row + i as u64;
        if value.len() > MAX_LINE {
            return Err(format!("row {at}: {} bytes, more than {MAX_LINE}", value.len()));
        }
        let size = (value.len() + size_of::<String>()) as u64;
        *room = room.checked_sub(size).ok_or_else(|| {
            format!("row {at}: text of more than {MAX_UNFOLDED} times the file's size")
        })?;
        let text = std::str::from_utf8(value.data())
            .map_err(|_| format!("row {at}: bytes that are not UTF-8"))?;
        Ok(one_line(text))
    };
    values.iter().enumerate().map(text).collect()
}
