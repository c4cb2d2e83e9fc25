//! Whether files in the hub's cache are what the hub published, before anything parses them.
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

use std::path::Path;

use kd_base::file_hash::sha256;

use super::DataError;

/// Checks the file at `path` of a cache. `known` is the SHA-256 that the code knows for it, in
/// lower-case hexadecimal digits.
///
/// Where neither the cache nor the code has a hash, nothing is read.
///
/// # Errors
/// [`DataError::Hash`] for a file with another hash; [`DataError::Io`] where it cannot be read.
pub fn check(path: &Path, known: Option<&str>) -> Result<(), DataError> {
    let name = blob(path);
    let Some(expected) = known.or(name.as_deref()) else { return Ok(()) };
    let got = sha256(path)
        .map_err(|error| DataError::Io { path: path.to_path_buf(), source: error.source })?;
    if Some(got.as_str()) == known || Some(&got) == name.as_ref() {
        return Ok(());
    }
    Err(DataError::Hash { path: path.to_path_buf(), expected: expected.to_string(), got })
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
        let path = dir.path().join("0000.parquet");
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
        assert!(text.contains("0000.parquet") && text.contains(OTHER) && text.contains(ABC));
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
            let path = dir.path().join("0000.parquet");
            std::os::unix::fs::symlink(name, &path).expect("a link");
            assert_eq!(check(&path, None).is_ok(), whole, "{name} {content}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_the_hub_converted_anew_passes_where_it_came_whole() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("0000.parquet");
        std::os::unix::fs::symlink(ABC, &path).expect("a link");
        std::fs::write(dir.path().join(ABC), "abc").expect("a write");
        check(&path, Some(OTHER)).expect("a file under its own hash");
        std::fs::write(dir.path().join(ABC), "abd").expect("a write");
        assert!(check(&path, Some(OTHER)).is_err());
    }
}
