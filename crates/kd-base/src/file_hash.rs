//! Files known by their content.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{FileError, hex};

/// The SHA-256 of a file's content, in lower-case hexadecimal digits. The file is read in parts.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> Result<String, FileError> {
    sha256_telling(path, &mut |_| ())
}

/// [`sha256`], which tells `read` now and then how many bytes it has read: a large file takes
/// seconds.
///
/// # Errors
/// As [`sha256`].
pub fn sha256_telling(path: &Path, read: &mut dyn FnMut(u64)) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::of("read", path))?;
    let (mut hash, mut part, mut bytes) = (Sha256::new(), vec![0; 1 << 18], 0);
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(n) => {
                hash.update(&part[..n]);
                bytes += n as u64;
                read(bytes);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FileError::of("read", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn the_hash_of_a_known_text_is_the_published_one_and_a_folder_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path).unwrap(), abc);
        let mut told = 0;
        assert_eq!(sha256_telling(&path, &mut |bytes| told = bytes).unwrap(), abc);
        assert_eq!(told, 3);
        assert!(sha256(dir.path()).is_err());
    }
}
