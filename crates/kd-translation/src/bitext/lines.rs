//! Lines of text files, plain or gzipped, with bounds.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use kd_core::data::DataError;
use kd_core::data::gunzip::Gunzip;
use kd_core::file_kind::{self, FileKind};

/// The longest line accepted from a file, in bytes; longer ones are taken for another kind of file.
pub const MAX_LINE: usize = 1 << 20;

/// A bound on what a gzip stream may unfold to; the largest side of a WMT corpus has about 10 GB.
const MAX_BYTES: u64 = 1 << 35;

/// The lines of a file, trimmed of white space at both ends. After an error there are no more.
pub(super) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    gzip: bool,
    buffer: Vec<u8>,
    line: usize,
    bytes: u64,
    done: bool,
}

impl Lines {
    /// Opens a file, to be decoded where its first bytes are those of gzip.
    ///
    /// # Errors
    /// [`DataError::Kind`] where it is no text; [`DataError::Io`].
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
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
        let reader: Box<dyn BufRead> = match gzip {
            true => Box::new(BufReader::new(Gunzip::new(file))),
            false => Box::new(BufReader::with_capacity(1 << 16, file)),
        };
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            gzip,
            buffer: Vec::new(),
            line: 0,
            bytes: 0,
            done: false,
        })
    }

    /// The number of the line that came last, counted from 1.
    pub(super) fn number(&self) -> usize {
        self.line
    }

    fn read(&mut self) -> Result<Option<String>, DataError> {
        self.buffer.clear();
        let read =
            self.reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.buffer);
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
        self.bytes += read as u64;
        let fault = |expected: String, got: String| DataError::Line {
            path: self.path.clone(),
            line: self.line,
            expected,
            got,
        };
        if read > MAX_LINE {
            return Err(fault(format!("at most {MAX_LINE} bytes"), "more".to_string()));
        }
        if self.bytes > MAX_BYTES {
            return Err(fault(
                format!("at most {MAX_BYTES} bytes in the file"),
                "more".to_string(),
            ));
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|e| {
            fault("UTF-8".to_string(), format!("other bytes from byte {} on", e.valid_up_to()))
        })?;
        // Some editors put a byte-order mark at the front.
        let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        Ok(Some(text.trim().to_string()))
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
