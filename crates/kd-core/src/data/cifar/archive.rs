//! CIFAR from its official `.tar.gz`, or from the tar archive in it, read as a stream: nothing is written to the disk, and no more
//! is held than the images.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use md5::{Digest, Md5};

use super::official::Archive;
use super::set::{Cifar, Kind};
use crate::data::gunzip::Gunzip;
use crate::data::{DataError, LabelledImages};
use crate::file_kind::{self, FileKind};

/// The most that an archive may unfold to; the largest official one has 186 MB.
const MAX_UNPACKED: u64 = 1 << 29;

/// Reads the archive at `path`, whose files say which of the official archives of `kind` it is. The
/// note is there where its MD5 is not the official one.
///
/// # Errors
/// [`DataError::Kind`] where the file is no archive; [`DataError::Archive`] where there is no tar
/// archive in it or it ends early;
/// [`DataError::MissingFiles`] where it is one of other files; otherwise what is wrong with the
/// first bad file in it.
pub fn read(kind: Kind, path: &Path) -> Result<(Cifar, Option<String>), DataError> {
    let fault = |source: io::Error| match source.raw_os_error() {
        Some(_) => DataError::Io { path: path.to_path_buf(), source },
        None => DataError::Archive { path: path.to_path_buf(), reason: source.to_string() },
    };
    let (what, looked) = file_kind::look(File::open(path).map_err(fault)?).map_err(fault)?;
    let mut file = Md5Reader { file: looked, hash: Md5::new() };
    let unpacked: Box<dyn Read + '_> = match what {
        FileKind::Gzip => Box::new(Gunzip::new(&mut file)),
        FileKind::Tar => Box::new(&mut file),
        got => {
            let expected = format!("a .tar.gz archive of {}", kind.title());
            return Err(DataError::Kind { path: path.to_path_buf(), expected, got });
        }
    };
    // One byte beyond the limit tells a stream that ends there from one that goes on.
    let mut stream = unpacked.take(MAX_UNPACKED + 1);
    let mut found: Vec<(Archive, Vec<Option<LabelledImages>>)> =
        Archive::of(kind).map(|a| (a, a.files().map(|_| None).collect())).collect();
    let mut tar = tar::Archive::new(&mut stream);
    // Raw entries: extended headers, whose length would have to be believed, are passed over like
    // any other file.
    for entry in tar.entries().map_err(fault)?.raw(true) {
        let mut entry = entry.map_err(fault)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path_bytes().rsplit(|&b| b == b'/').next().unwrap_or_default().to_vec();
        for (archive, slots) in &mut found {
            let Some(i) = archive.files().position(|file| file.as_bytes() == name) else {
                continue;
            };
            let inside = path.join(String::from_utf8_lossy(&name).as_ref());
            slots[i] = Some(archive.read(&mut entry, &inside, &fault)?);
        }
    }
    // To the end of the stream, where its checksum stands.
    io::copy(&mut stream, &mut io::sink()).map_err(fault)?;
    if stream.limit() == 0 {
        return Err(DataError::Archive {
            path: path.to_path_buf(),
            reason: format!("more than {MAX_UNPACKED} bytes in it"),
        });
    }
    drop(stream);
    let md5 = kd_base::hex(&file.hash.finalize());

    // The archive with the fewest files missing is the one it was meant to be.
    let absent = |(archive, slots): &(Archive, Vec<Option<LabelledImages>>)| {
        archive
            .files()
            .zip(slots)
            .filter(|(_, slot)| slot.is_none())
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    found.sort_by_key(|f| absent(f).len());
    let best = found.into_iter().next();
    let missing = best.as_ref().map(absent).unwrap_or_default();
    match best {
        Some((archive, slots)) if missing.is_empty() => {
            let note = (md5 != archive.md5).then(|| {
                format!(
                    "{}: MD5 {md5}, the official {} has {}",
                    path.display(),
                    archive.file,
                    archive.md5
                )
            });
            Ok((archive.assemble(slots.into_iter().flatten().collect()), note))
        }
        _ => Err(DataError::MissingFiles {
            dataset: kind.title(),
            dir: path.to_path_buf(),
            missing: missing.join(", "),
            places: "in the archive, in any folder of it",
        }),
    }
}

/// A file whose MD5 is computed as it is read.
struct Md5Reader<R> {
    file: R,
    hash: Md5,
}

impl<R: Read> Read for Md5Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}
