//! What a file is, told by its first bytes.
//!
//! A download that failed, a Git LFS pointer or an archive that was never unpacked keeps the name
//! of the file it stands for. Every reader looks at the first bytes before it reads on, and its
//! message says what they are.

use std::fmt;
use std::fs::File;
use std::io::{self, Chain, Cursor, Read};
use std::path::Path;

/// How many bytes are looked at: the signature of a tar archive ends at byte 262.
const HEAD: usize = 512;

/// What the first bytes of a file say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// No bytes.
    Empty,
    /// What Git keeps in place of a large file.
    LfsPointer,
    /// A page of the web.
    Html,
    /// JSON, as a server's error may be.
    Json,
    /// Other text.
    Text,
    /// A zip archive, such as a PyTorch checkpoint.
    Zip,
    /// A pickle of protocol 2 to 5.
    Pickle,
    /// Safetensors.
    Safetensors,
    /// Gzip.
    Gzip,
    /// Bzip2, xz, Zstandard or 7z.
    OtherCompression,
    /// A tar archive that is not compressed.
    Tar,
    /// A Parquet table.
    Parquet,
    /// An ONNX network.
    Onnx,
    /// HDF5, in which Keras keeps networks.
    Hdf5,
    /// A NumPy array.
    Npy,
    /// A PNG or JPEG picture.
    Picture,
    /// Zeros alone, as a download leaves them that was cut off.
    Zeros,
    /// None of these.
    Other,
}

impl FileKind {
    /// The kind of a file that begins with `head`; some hundred bytes tell all kinds.
    pub fn of(head: &[u8]) -> Self {
        let begins = |with: &[u8]| head.starts_with(with);
        if head.is_empty() {
            return Self::Empty;
        }
        if begins(b"version https://git-lfs") {
            return Self::LfsPointer;
        }
        // A header's length of 8 bytes, far below 2^32, and then a JSON object.
        if head.get(8) == Some(&b'{') && head[4..8] == [0; 4] {
            return Self::Safetensors;
        }
        match head {
            [b'P', b'K', 3 | 5, 4 | 6, ..] => return Self::Zip,
            [0x80, 2..=5, ..] => return Self::Pickle,
            [0x1f, 0x8b, ..] => return Self::Gzip,
            // Field 1, the version, is a small number; another field follows.
            [8, 1..=30, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] => return Self::Onnx,
            _ => {}
        }
        if [&b"BZh"[..], b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf"].into_iter().any(begins)
        {
            return Self::OtherCompression;
        }
        if head.get(257..262) == Some(b"ustar") {
            return Self::Tar;
        }
        if begins(b"PAR1") {
            return Self::Parquet;
        }
        if begins(b"\x89HDF") {
            return Self::Hdf5;
        }
        if begins(b"\x93NUMPY") {
            return Self::Npy;
        }
        if begins(b"\x89PNG") || begins(b"\xff\xd8\xff") {
            return Self::Picture;
        }
        if head.iter().all(|&b| b == 0) {
            return Self::Zeros;
        }
        Self::of_text(head)
    }

    fn of_text(head: &[u8]) -> Self {
        // The last character may be cut.
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            Err(e) if e.error_len().is_none() => {
                std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Self::Other,
        };
        let is_binary = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c');
        if text.contains(is_binary) {
            return Self::Other;
        }
        let start = text.trim_start_matches('\u{feff}').trim_start().to_lowercase();
        if ["<!doctype html", "<html", "<head", "<?xml", "<!--"]
            .iter()
            .any(|t| start.starts_with(t))
        {
            return Self::Html;
        }
        match start.starts_with(['{', '[']) {
            true => Self::Json,
            false => Self::Text,
        }
    }

    /// Whether no reader here takes this for what it reads, text and pictures among them: what
    /// stands in place of a file.
    pub fn is_stand_in(self) -> bool {
        matches!(self, Self::Empty | Self::LfsPointer | Self::Html)
    }
}

impl fmt::Display for FileKind {
    /// In a few words, behind "got".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::LfsPointer => "a Git LFS pointer: `git lfs pull` fetches the file itself",
            Self::Html => "an HTML page, as a server sends it in place of a file",
            Self::Json => "JSON text",
            Self::Text => "a text",
            Self::Zip => "a zip archive",
            Self::Pickle => "a pickle",
            Self::Safetensors => "a safetensors file",
            Self::Gzip => "a gzip file",
            Self::OtherCompression => "a compressed file (bzip2, xz, Zstandard or 7z)",
            Self::Tar => "a tar archive",
            Self::Parquet => "a Parquet table",
            Self::Onnx => "an ONNX network",
            Self::Hdf5 => "an HDF5 file",
            Self::Npy => "a NumPy array",
            Self::Picture => "a picture",
            Self::Zeros => "zeros",
            Self::Other => "another kind of file",
        })
    }
}

/// A reader whose first bytes have been looked at: reading begins with them.
pub type Looked<R> = Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first bytes of `reader`; what is given back reads them again. So a pipe, which
/// cannot go back, loses nothing.
///
/// # Errors
/// Those of the reader.
pub fn look<R: Read>(mut reader: R) -> io::Result<(FileKind, Looked<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok((FileKind::of(&head), Cursor::new(head).chain(reader)))
}

/// The kind of the file at `path`, where it can be read.
pub fn of_file(path: &Path) -> io::Result<FileKind> {
    look(File::open(path)?).map(|(kind, _)| kind)
}

/// All that is left to read; `None` if that is more than `limit` bytes. Memory grows with what was
/// read.
///
/// # Errors
/// Those of the reader.
pub fn read_at_most(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_say_what_people_keep_under_a_checkpoints_name() {
        let tar = [&[b'd'; 257][..], b"ustar\0"].concat();
        let safetensors = [&200u64.to_le_bytes()[..], b"{\"a\""].concat();
        let kinds: [(&[u8], FileKind); 22] = [
            (b"", FileKind::Empty),
            (b"version https://git-lfs.github.com/spec/v1\n", FileKind::LfsPointer),
            (b"\n\n<html>404</html>", FileKind::Html),
            (b"\xef\xbb\xbf<!DOCTYPE html><html>", FileKind::Html),
            (b"{\"error\":\"not found\"}", FileKind::Json),
            (b"not found \xc3", FileKind::Text),
            (b"PK\x03\x04 and more", FileKind::Zip),
            (b"\x80\x02\x8a\x0al", FileKind::Pickle),
            (b"\x80\x06}", FileKind::Other),
            (&safetensors, FileKind::Safetensors),
            (b"\x1f\x8b\x08", FileKind::Gzip),
            (b"\xfd7zXZ\0", FileKind::OtherCompression),
            (&tar, FileKind::Tar),
            (b"PAR1\x15\x04", FileKind::Parquet),
            (b"\x08\x07\x12\x07pytorch", FileKind::Onnx),
            (b"\x89HDF\r\n\x1a\n", FileKind::Hdf5),
            (b"\x93NUMPY\x01\0", FileKind::Npy),
            (b"\x89PNG\r\n", FileKind::Picture),
            (&[0; 100], FileKind::Zeros),
            (b"\x08\x07\x07\x07", FileKind::Other),
            (b"\xff\xfe\xfd", FileKind::Other),
            (b"a\0b", FileKind::Other),
        ];
        for (head, kind) in kinds {
            assert_eq!(FileKind::of(head), kind, "{:?}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn a_look_loses_no_byte_and_reads_no_further_than_it_needs() -> io::Result<()> {
        let bytes: Vec<u8> = (0..2000u32).map(|n| n as u8).collect();
        let (_, looked) = look(&bytes[..])?;
        assert_eq!(read_at_most(looked, 2000)?, Some(bytes.clone()));
        let (_, looked) = look(&bytes[..])?;
        assert_eq!(read_at_most(looked, 1999)?, None);
        let mut endless = io::repeat(0).take(1 << 40);
        assert_eq!(look(&mut endless)?.0, FileKind::Zeros);
        assert_eq!(endless.limit(), (1 << 40) - HEAD as u64);
        Ok(())
    }
}
