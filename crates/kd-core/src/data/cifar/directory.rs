//! The official files of CIFAR in a directory, unpacked or in their `.tar.gz`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::archive;
use super::official::Archive;
use super::set::{Cifar, Kind};
use crate::data::DataError;

/// Data from a directory.
#[derive(Debug)]
pub struct DirectoryData {
    /// The images.
    pub cifar: Cifar,
    /// The folder or archive they were read from.
    pub place: PathBuf,
    /// Something to tell the user, where an archive is not the official one.
    pub note: Option<String>,
}

/// Reads CIFAR from `dir`: from the official files in it or in the official folder below it, or
/// else from the official `.tar.gz` in it; binary files before pickles. `dir` may also be such an
/// archive itself, under any name. Nothing is unpacked to the disk.
///
/// # Errors
/// [`DataError::MissingFiles`] with the names that were looked for; otherwise what is wrong with
/// the first bad file, as [`binary::read`](super::binary::read),
/// [`python::read`](super::python::read) and [`archive::read`] say.
pub fn load(kind: Kind, dir: &Path) -> Result<DirectoryData, DataError> {
    if dir.is_file() {
        let (cifar, note) = archive::read(kind, dir)?;
        return Ok(DirectoryData { cifar, place: dir.to_path_buf(), note });
    }
    // The folder that has the most of the files: where some are missing, the message is about
    // those.
    let mut missing: Option<Vec<String>> = None;
    for place in [true, false] {
        for archive in Archive::of(kind) {
            let place = if place { dir.join(archive.folder) } else { dir.to_path_buf() };
            let absent: Vec<String> = archive
                .files()
                .filter(|name| !place.join(name).is_file())
                .map(str::to_owned)
                .collect();
            if absent.is_empty() {
                return Ok(DirectoryData { cifar: unpacked(archive, &place)?, place, note: None });
            }
            if absent.len() < archive.files().count() {
                missing = missing.or(Some(absent));
            }
        }
    }
    for archive in Archive::of(kind) {
        let place = dir.join(archive.file);
        if place.is_file() {
            let (cifar, note) = archive::read(kind, &place)?;
            return Ok(DirectoryData { cifar, place, note });
        }
    }
    let names = missing.unwrap_or_else(|| Archive::of(kind).map(|a| a.file.to_owned()).collect());
    Err(DataError::MissingFiles {
        dataset: kind.title(),
        dir: dir.to_path_buf(),
        missing: names.join(", "),
        places: "the official files, their folder or their .tar.gz, binary or python",
    })
}

fn unpacked(archive: Archive, place: &Path) -> Result<Cifar, DataError> {
    let read = |name| {
        let path = place.join(name);
        let fault = |source| DataError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(fault)?;
        archive.read(&mut BufReader::with_capacity(1 << 16, file), &path, &fault)
    };
    Ok(archive.assemble(archive.files().map(read).collect::<Result<_, _>>()?))
}
