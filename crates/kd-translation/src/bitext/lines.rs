//! Lines of text, from files, plain or gzipped, and from streams, with bounds. Everything that reads
//! text to train on or to translate reads it here.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::sentence::trimmed;
use kd_core::data::DataError;
use kd_core::data::gunzip::Gunzip;
use kd_core::file_kind::{self, FileKind};

/// The longest line accepted from a file, in bytes; longer ones are taken for another kind of file.
pub const MAX_LINE: usize = 1 << 20;

/// A bound on what a gzip stream may unfold to; the largest side of a WMT corpus has about 10 GB.
const MAX_BYTES: u64 = 1 << 35;

/// The lines of a text, trimmed as by [`sentence`](super::sentence()), one at a time: memory holds
/// one line. A last line without a line end counts; `\r\n` ends a line as `\n` does. After an error
/// there are no more.
///
/// Items are errors of [`DataError::Line`] (longer than [`MAX_LINE`] bytes, not UTF-8, more text
/// than a file may have), [`DataError::Gzip`] and [`DataError::Io`].
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    gzip: bool,
    most: u64,
    buffer: Vec<u8>,
    line: usize,
    bytes: u64,
    done: bool,
}

impl Lines {
    /// Opens a file, to be decoded where its first bytes are those of gzip. It may have 32 GiB,
    /// unfolded.
    ///
    /// # Errors
    /// [`DataError::Kind`] where it is no text; [`DataError::Io`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_path_buf(), source };
        let (kind, file) = file_kind::look(File::open(path).map_err(io)?).map_err(io)?;
        let gzip = kind == FileKind::Gzip;
        if matches!(kind, FileKind::LfsPointer | FileKind::Html | FileKind::Parquet) {
            return Err(DataError::Kind {
                path: path.to_path_buf(),
                expected: "a text, plain or gzipped".to_owned(),
                got: kind,
            });
        }
        let reader: Box<dyn BufRead> = if gzip {
            Box::new(BufReader::new(Gunzip::new(file)))
        } else {
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        Ok(Self::with(path.to_path_buf(), reader, gzip, MAX_BYTES))
    }

    /// The lines of a stream, of any number, to be called `name` in errors.
    pub fn of(name: impl Into<PathBuf>, reader: impl Read + 'static) -> Self {
        Self::with(name.into(), Box::new(BufReader::new(reader)), false, u64::MAX)
    }

    fn with(path: PathBuf, reader: Box<dyn BufRead>, gzip: bool, most: u64) -> Self {
        Self { path, reader, gzip, most, buffer: Vec::new(), line: 0, bytes: 0, done: false }
    }

    /// The number of the line that came last, counted from 1.
    pub fn number(&self) -> usize {
        self.line
    }

    fn read(&mut self) -> Result<Option<String>, DataError> {
        self.buffer.clear();
        // With room for `\r\n` behind the longest line.
        let read =
            self.reader.by_ref().take(MAX_LINE as u64 + 2).read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|source| {
            if self.gzip && source.raw_os_error().is_none() {
                DataError::Gzip { path: self.path.clone(), reason: source.to_string() }
            } else {
                DataError::Io { path: self.path.clone(), source }
            }
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        self.bytes = self.bytes.saturating_add(read as u64);
        let fault = |expected: String, got: String| DataError::Line {
            path: self.path.clone(),
            line: self.line,
            expected,
            got,
        };
        let text = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.len() > MAX_LINE {
            return Err(fault(format!("at most {MAX_LINE} bytes"), "more".to_string()));
        }
        if self.bytes > self.most {
            return Err(fault(
                format!("at most {} bytes in the file", self.most),
                "more".to_string(),
            ));
        }
        let text = std::str::from_utf8(text).map_err(|e| {
            fault("UTF-8".to_string(), format!("other bytes from byte {} on", e.valid_up_to()))
        })?;
        Ok(Some(trimmed(text).to_string()))
    }
}

impl Iterator for Lines {
    type Item = Result<String, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let line = self.read().transpose();
        self.done = !matches!(line, Some(Ok(_)));
        line
    }
}

/// All lines of a file, `empty` saying whether empty ones are accepted.
///
/// # Errors
/// What is wrong with the first bad line or with the stream; [`DataError::Count`] where there is no
/// line at all.
pub(super) fn read(path: &Path, empty: bool) -> Result<Vec<String>, DataError> {
    let mut lines = Lines::open(path)?;
    let mut all = Vec::new();
    while let Some(line) = lines.next() {
        let line = line?;
        if line.is_empty() && !empty {
            return Err(empty_line(path, lines.number()));
        }
        all.push(line);
    }
    if all.is_empty() {
        return Err(DataError::Count {
            path: path.to_path_buf(),
            what: "lines",
            max: u64::from(u32::MAX),
            got: 0,
        });
    }
    Ok(all)
}

/// A sentence is missing where each one counts.
pub(super) fn empty_line(path: &Path, line: usize) -> DataError {
    let (expected, got) = ("a sentence".to_string(), "an empty line".to_string());
    DataError::Line { path: path.to_path_buf(), line, expected, got }
}
