//! Where the bytes of a checkpoint come from: a file, of which only what is needed is read, or
//! memory, for what cannot go back, such as a pipe.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use crate::file_kind::{self, FileKind, Looked};
use crate::{Error, Result};

/// The most bytes that are taken from a pipe, which are all kept in memory.
const MAX_PIPED: u64 = 1 << 30;

/// The bytes of a checkpoint, and how many there are.
pub enum Source {
    File(BufReader<File>, u64),
    Memory(Cursor<Vec<u8>>),
}

impl Source {
    /// The bytes of a file of this kind, whose first bytes have been looked at. One that is no
    /// checkpoint is not read on: it may have no end.
    ///
    /// # Errors
    /// When the file cannot be read; bad input for a pipe that gives more than 1 GiB.
    pub fn of(path: &Path, kind: FileKind, mut looked: Looked<File>) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let about = looked.get_ref().1.metadata().map_err(io)?;
        if about.is_file() {
            let (_, mut file) = looked.into_inner();
            file.rewind().map_err(io)?;
            return Ok(Self::File(BufReader::new(file), about.len()));
        }
        if !matches!(kind, FileKind::Zip | FileKind::Pickle) {
            return Ok(Self::Memory(Cursor::default()));
        }
        let bytes = file_kind::read_at_most(&mut looked, MAX_PIPED).map_err(io)?;
        let bytes = bytes.ok_or_else(|| {
            Error::bad_input(format!(
                "{}: expected at most {MAX_PIPED} bytes from a pipe, got more; give a file",
                path.display()
            ))
        })?;
        Ok(Self::Memory(Cursor::new(bytes)))
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        match self {
            Self::File(_, length) => *length,
            Self::Memory(bytes) => bytes.get_ref().len() as u64,
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file, _) => file.read(buffer),
            Self::Memory(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file, _) => file.seek(to),
            Self::Memory(bytes) => bytes.seek(to),
        }
    }
}
