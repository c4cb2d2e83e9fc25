//! Files that appear whole or not at all.
//!
//! A file is written beside its place under a temporary name, flushed to the disk and renamed. The
//! temporary file is locked while its writer lives, and the operating system releases the lock when
//! the writer dies, so a temporary file that can be locked is litter.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::FileError;

type Result<T> = std::result::Result<T, FileError>;

const PREFIX: &str = ".tmp-";

/// Writes `bytes` to `path` atomically: readers see the old file or the new one, and after a crash
/// one of the two is there. The folder must exist. Errors name `path` and keep the system's text.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    // A sweeper may take the temporary file for litter in the moment between its creation and its
    // lock; then we start again.
    for _ in 0..16 {
        match try_write(path, bytes) {
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && path.parent().is_some_and(Path::is_dir) =>
            {
                continue;
            }
            done => return done.map_err(FileError::of("write", path)),
        }
    }
    Err(FileError::of("write", path)(ErrorKind::NotFound.into()))
}

/// Like [`write()`], and leaves the file untouched (time stamp included) where it already holds
/// `bytes`. True where it was written.
pub fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    write(path, bytes).map(|()| true)
}

/// Creates a folder and its parents; the error names the folder.
pub fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(FileError::of("create", dir))
}

/// Removes the temporary files that dead writers left in `dir`. Those of living writers, here or in
/// other processes, stay.
pub fn sweep(dir: &Path) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(FileError::of("read", dir))?;
    for entry in entries {
        let entry = entry.map_err(FileError::of("read", dir))?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        // A file that is gone by now was renamed or swept by another process: nothing to do.
        // Opened for writing, because some network file systems grant an exclusive lock on nothing
        // less.
        if let Ok(file) = OpenOptions::new().write(true).open(&path)
            && file.try_lock().is_ok()
        {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(FileError::of("remove", &path)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn try_write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = Temporary::beside(path, bytes)?;
    fs::rename(&temporary.path, path)?;
    temporary.placed();
    sync_dir(path);
    Ok(())
}

/// A whole file under a temporary name, flushed to the disk and locked. Dropping it removes it,
/// unless it was [placed](Self::placed).
pub(crate) struct Temporary {
    /// Its name.
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Temporary {
    /// Writes `bytes` under a temporary name in the folder of `path`.
    pub(crate) fn beside(path: &Path, bytes: &[u8]) -> std::io::Result<Self> {
        // Distinct names for the threads of one process; the process id keeps processes apart. No
        // name reaches any result.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
        // The longest name that file systems take is 255 bytes: the tail of ours needs some of them.
        let name: String = name.chars().take(50).collect();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary =
            path.with_file_name(format!("{PREFIX}{name}-{}-{count}", std::process::id()));
        // Not `create_new`: a dead process with our id may have left this very name behind.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        // Best effort: on a file system without locks nothing can be swept, and the write itself
        // needs no lock.
        let _ = file.lock();
        let mut temporary = Self { path: temporary, _lock: file };
        temporary._lock.write_all(bytes)?;
        temporary._lock.sync_all()?;
        Ok(temporary)
    }

    /// It has its place: there is nothing left under the temporary name.
    pub(crate) fn placed(mut self) {
        self.path.clear();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Best effort: on a full disk the temporary file is what fills it, and the first error
            // is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Fails where no file could be written in `dir`, or in the folder that it would be created in:
/// what is to be written after hours of work is refused before them. Leaves nothing behind.
///
/// # Errors
/// What stands in the way, with its name: a file in a folder's place, a folder that cannot be
/// written in.
pub fn check_dir(dir: &Path) -> Result<()> {
    let mut there = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    while let Err(error) = fs::metadata(there) {
        if error.kind() != ErrorKind::NotFound {
            return Err(FileError::of("create", dir)(error));
        }
        there = match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    if !there.is_dir() {
        return Err(FileError::of("create", dir)(ErrorKind::NotADirectory.into()));
    }
    // Without a name where the system can: a process that is killed here leaves nothing.
    tempfile::tempfile_in(there).map_err(FileError::of("write in", there))?;
    Ok(())
}

/// Makes the rename itself durable where the system lets a folder be flushed. Elsewhere the file is
/// whole all the same.
pub(crate) fn sync_dir(path: &Path) {
    if let Some(dir) = path.parent()
        && let Ok(dir) = File::open(dir)
    {
        let _ = dir.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_replaces_the_old_one_and_leaves_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn identical_content_is_not_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        assert!(write_if_changed(&path, b"one").unwrap());
        assert!(!write_if_changed(&path, b"one").unwrap());
        assert!(write_if_changed(&path, b"two").unwrap());
    }

    #[test]
    fn the_sweep_removes_what_the_dead_left_and_spares_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let (dead, living, other) = (
            dir.path().join(".tmp-dead"),
            dir.path().join(".tmp-living"),
            dir.path().join("epochs.csv"),
        );
        fs::write(&dead, "half").unwrap();
        fs::write(&other, "kept").unwrap();
        let writer = File::create(&living).unwrap();
        writer.lock().unwrap();
        sweep(dir.path()).unwrap();
        assert!(!dead.exists());
        assert!(living.exists());
        assert!(other.exists());
    }

    #[test]
    fn a_path_below_a_regular_file_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = write(&file.join("a.txt"), b"x").unwrap_err();
        assert!(error.to_string().contains("a.txt"), "{error}");
        assert!(create_dir(&file.join("sub")).unwrap_err().to_string().contains("sub"));
    }

    #[test]
    fn a_folder_is_checked_before_it_is_there_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        check_dir(&dir.path().join("a/b/c")).unwrap();
        check_dir(dir.path()).unwrap();
        for wrong in [file.clone(), file.join("a"), file.join("a/b")] {
            let error = check_dir(&wrong).unwrap_err().to_string();
            assert!(error.contains("file"), "{error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_as_long_as_file_systems_take_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("é".repeat(127));
        write(&path, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
