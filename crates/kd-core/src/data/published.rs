//! Whether files in the hub's cache are what the hub published, before anything parses them.
//!
//! A file has to begin and end as its name says: what stands between a machine and the hub (the
//! login page of a network, a proxy) answers with a page of its own, and an answer is an answer to
//! hf-hub.
//!
//! The hub knows a large file by the SHA-256 of its content (the object id of Git LFS), and its
//! clients keep the file under that name: `snapshots/REVISION/PATH` is a link to `blobs/SHA256`.
//! hf-hub takes the name from the server's answer and does not compare it with what it then
//! downloads, so a file that was damaged on the way or on the disk is found here.
//!
//! A cache that was copied without its links has no such names, and small files, which the hub
//! keeps in Git itself, have a name of another kind. For the files of MNIST, CIFAR-100 and Multi30k
//! the SHA-256 stands in the code (see [`super::hub::HubDataset::sha256`]). A file passes if it has
//! either of the two: the hub may convert a data set anew, and a file that came whole is still
//! compared with the original's content once it is read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use kd_base::file_hash::sha256_telling;

use super::DataError;

/// Checks the file at `path` of a cache. `known` is the SHA-256 that the code knows for it, in
/// lower-case hexadecimal digits.
///
/// Where neither the cache nor the code has a hash, only the ends of the file are read.
///
/// # Errors
/// [`DataError::Form`] for a file that does not look like what its name says; [`DataError::Hash`]
/// for one with another hash; [`DataError::Io`] where it cannot be read.
pub fn check(path: &Path, known: Option<&str>) -> Result<(), DataError> {
    check_telling(path, known, &mut |_| ())
}

/// [`check`], which tells `read` now and then how many bytes it has read: a large file takes
/// seconds.
///
/// # Errors
/// As [`check`].
pub fn check_telling(
    path: &Path,
    known: Option<&str>,
    read: &mut dyn FnMut(u64),
) -> Result<(), DataError> {
    check_form(path)?;
    let name = blob(path);
    let Some(expected) = known.or(name.as_deref()) else { return Ok(()) };
    let got = sha256_telling(path, read)
        .map_err(|error| DataError::Io { path: path.to_path_buf(), source: error.source })?;
    if Some(got.as_str()) == known || Some(&got) == name.as_ref() {
        return Ok(());
    }
    Err(DataError::Hash { path: path.to_path_buf(), expected: expected.to_string(), got })
}

/// What begins and ends a Parquet file.
const PARQUET: &[u8] = b"PAR1";

/// Looks at the ends of a file whose name ends in `.parquet` or `.jsonl`; files of other names pass.
fn check_form(path: &Path) -> Result<(), DataError> {
    let io = |source| DataError::Io { path: path.to_path_buf(), source };
    let expected = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => "a Parquet file",
        Some("jsonl") => "JSON lines",
        _ => return Ok(()),
    };
    let (head, tail) = ends(path).map_err(io)?;
    let text = head.trim_ascii_start();
    let got = match expected {
        "JSON lines" if text.starts_with(b"{") => return Ok(()),
        "a Parquet file" if head.starts_with(PARQUET) && tail == PARQUET => return Ok(()),
        _ if head.is_empty() => "an empty file",
        _ if text.starts_with(b"<") => "a page of HTML or XML",
        _ if head.starts_with(b"version https://git-lfs") => "a pointer of Git LFS",
        "a Parquet file" if head.starts_with(PARQUET) => "one that is cut off",
        _ => "something else",
    };
    Err(DataError::Form { path: path.to_path_buf(), expected, got })
}

/// The first bytes of a file, at most 64, and the last four, fewer where it has no more.
fn ends(path: &Path) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut file, mut head, mut tail) = (File::open(path)?, Vec::new(), Vec::new());
    file.by_ref().take(64).read_to_end(&mut head)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(4)))?;
    file.take(4).read_to_end(&mut tail)?;
    Ok((head, tail))
}

/// The name of the blob that `path` is a link to, if it is a SHA-256.
fn blob(path: &Path) -> Option<String> {
    let name = std::fs::read_link(path).ok()?.file_name()?.to_str()?.to_string();
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (name.len() == 64 && name.bytes().all(digit)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc`, from FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("numbers.bin");
        std::fs::write(&path, content).expect("a write");
        (dir, path)
    }

    #[test]
    fn a_file_with_the_known_hash_passes_and_one_with_another_is_bad_input_that_names_both() {
        let (_dir, path) = file("abc");
        check(&path, Some(ABC)).expect("the known file");
        let error = check(&path, Some(OTHER)).expect_err("another file");
        let text = error.to_string();
        assert!(matches!(error, DataError::Hash { .. }));
        assert!(text.contains("numbers.bin") && text.contains(OTHER) && text.contains(ABC));
    }

    #[test]
    fn a_plain_file_without_a_known_hash_passes() {
        let (_dir, path) = file("abc");
        check(&path, None).expect("nothing to compare with");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_blob_is_compared_with_the_name_of_the_blob() {
        for (name, content, whole) in [(ABC, "abc", true), (ABC, "abd", false), ("main", "x", true)]
        {
            let dir = tempfile::tempdir().expect("a temporary folder");
            std::fs::write(dir.path().join(name), content).expect("a write");
            let path = dir.path().join("numbers.bin");
            std::os::unix::fs::symlink(name, &path).expect("a link");
            assert_eq!(check(&path, None).is_ok(), whole, "{name} {content}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_the_hub_converted_anew_passes_where_it_came_whole() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("numbers.bin");
        std::os::unix::fs::symlink(ABC, &path).expect("a link");
        std::fs::write(dir.path().join(ABC), "abc").expect("a write");
        check(&path, Some(OTHER)).expect("a file under its own hash");
        std::fs::write(dir.path().join(ABC), "abd").expect("a write");
        assert!(check(&path, Some(OTHER)).is_err());
    }

    #[test]
    fn a_file_that_does_not_look_like_its_name_is_refused_with_what_it_looks_like() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let looks = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("a write");
            check(&path, None).err().map(|error| {
                assert!(matches!(error, DataError::Form { .. }), "{error}");
                error.to_string().replace(&dir.path().display().to_string(), "DIR")
            })
        };
        assert_eq!(looks("a.parquet", b"PAR1 columns PAR1"), None);
        assert_eq!(looks("a.jsonl", b"{}"), None);
        assert_eq!(looks("a.csv", b"<html>"), None, "nothing is known of such files");
        let cases: [(&str, &[u8], &str); 6] = [
            ("a.parquet", b"<html>log in</html>", "a Parquet file, got a page of HTML or XML"),
            ("a.parquet", b"", "a Parquet file, got an empty file"),
            ("a.parquet", b"PAR1 colu", "a Parquet file, got one that is cut off"),
            ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "got a pointer of Git"),
            ("a.jsonl", b"\n<!DOCTYPE html>", "JSON lines, got a page of HTML or XML"),
            ("a.jsonl", b"PAR1", "JSON lines, got something else"),
        ];
        for (name, content, part) in cases {
            let said = looks(name, content).expect(part);
            assert!(said.starts_with(&format!("DIR/{name}: expected ")), "{said}");
            assert!(said.contains(part), "{said}");
        }
    }
}
