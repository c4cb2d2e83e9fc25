//! A place that a user named for a file.
//!
//! The files of our own stores are written under a temporary name and renamed (see
//! [`atomic`]). What a user names may be anything: a file of a certain mode, a link,
//! a pipe, a device, `/dev/stdout`. It stays what it is.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::atomic::{self, Temporary};
use crate::{Blame, Fault, FileError};

/// A place that a user named, looked at before the work that fills it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    path: PathBuf,
    target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// Nothing is there yet.
    New,
    /// A regular file that may be replaced; its path behind all links.
    File(PathBuf),
    /// A pipe or a device, or an open file of this process.
    Node,
}

/// Why a file cannot be written where a user wants it.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// A file is there, and nobody asked to replace it.
    #[error("{}: exists already; name another file, or give --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It can never be a file.
    #[error("{}: expected a file, got {got}", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        got: &'static str,
    },
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl Blame for DestinationError {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

type Result<T> = std::result::Result<T, DestinationError>;

impl Destination {
    /// Looks at what is at `path`, without changing it. A regular file may be replaced where
    /// `replace` is set. Pipes and devices hold nothing that could be lost: they need no leave.
    ///
    /// # Errors
    /// Where the file could not be written later: it is there and may not be replaced, it may not
    /// be written, its folder is missing or may not be written in, it is a folder or a link to
    /// nothing.
    pub fn new(path: &Path, replace: bool) -> Result<Self> {
        let refuse = |got| Err(DestinationError::NoFile { path: path.to_path_buf(), got });
        if path.as_os_str().is_empty() {
            return refuse("no name");
        }
        let target = match fs::metadata(path) {
            _ if is_open_file(path) => Target::Node,
            Ok(found) if found.is_dir() => return refuse("a folder"),
            Ok(found) if found.is_file() => {
                if !replace {
                    return Err(DestinationError::Exists { path: path.to_path_buf() });
                }
                // Renaming would replace a file that may not be written.
                OpenOptions::new().write(true).open(path).map_err(FileError::of("write", path))?;
                Target::File(fs::canonicalize(path).map_err(FileError::of("read", path))?)
            }
            Ok(_) => Target::Node,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    return refuse("a link to nothing");
                }
                if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                    return refuse("the name of a folder");
                }
                let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
                let dir = dir.unwrap_or(Path::new("."));
                if !dir.is_dir() {
                    return refuse("one in no folder");
                }
                atomic::check_dir(dir)?;
                Target::New
            }
            Err(error) => return Err(FileError::of("write", path)(error).into()),
        };
        Ok(Self { path: path.to_path_buf(), target })
    }

    /// The place, as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the whole content. A new file appears whole or not at all, and never takes the place
    /// of one that came there in the meantime. One that is replaced is the old or the new one at
    /// any moment and keeps its mode and the links to it. A pipe or a device is written through.
    ///
    /// # Errors
    /// When it cannot be written, or a file came there in the meantime.
    pub fn write(self, bytes: &[u8]) -> Result<()> {
        let path = self.path.as_path();
        match &self.target {
            Target::New => match create(path, bytes) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    Err(DestinationError::Exists { path: path.to_path_buf() })
                }
                done => Ok(done.map_err(FileError::of("write", path))?),
            },
            Target::File(file) => Ok(replace(file, bytes).map_err(FileError::of("write", path))?),
            Target::Node => {
                let mut out = self.stream()?;
                let done = out.write_all(bytes).and_then(|()| out.flush());
                Ok(done.map_err(FileError::of("write", path))?)
            }
        }
    }

    /// Opens the place for content that comes bit by bit: what is written stays if the process is
    /// killed. A file that is replaced is emptied first.
    ///
    /// # Errors
    /// When it cannot be opened, or a file came there in the meantime.
    pub fn stream(&self) -> Result<Box<dyn Write>> {
        let mut options = OpenOptions::new();
        options.write(true);
        match &self.target {
            Target::Node if self.path == Path::new(STDOUT) => return Ok(Box::new(io::stdout())),
            // Not truncated: it may be a file that the shell has opened to append to.
            Target::Node => options.append(is_open_file(&self.path)),
            Target::New => options.create_new(true),
            Target::File(_) => options.truncate(true),
        };
        match options.open(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(DestinationError::Exists { path: self.path.clone() })
            }
            opened => Ok(Box::new(opened.map_err(FileError::of("write", &self.path))?)),
        }
    }
}

const STDOUT: &str = "/dev/stdout";

/// Whether `path` names a file that this process has open, as the shell hands them over.
fn is_open_file(path: &Path) -> bool {
    path == Path::new(STDOUT)
        || ["/dev/stderr", "/dev/fd", "/proc/self/fd"].iter().any(|open| path.starts_with(open))
}

/// Writes a file that is not there yet.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = Temporary::beside(path, bytes)?;
    // Unlike a rename, a link never replaces.
    match fs::hard_link(&temporary.path, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            // A file system without links.
            let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        }
        linked => linked.map(|()| atomic::sync_dir(path)),
    }
}

/// Replaces the content of a regular file.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path)?;
    if is_alone(&old)
        && let Ok(temporary) = Temporary::beside(path, bytes)
        && keep_owner_and_mode(&temporary.path, &old)
        && fs::rename(&temporary.path, path).is_ok()
    {
        temporary.placed();
        atomic::sync_dir(path);
        return Ok(());
    }
    // Another name of the file would keep the old content, or the folder may not be written in.
    let mut file = File::options().write(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether a file has no other name (hard link).
fn is_alone(file: &Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::nlink(file) == 1;
    #[cfg(not(unix))]
    return file.is_file();
}

/// Gives a new file the mode and the owner of an old one; false where that is not allowed.
fn keep_owner_and_mode(path: &Path, old: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, chown};
        let Ok(new) = fs::metadata(path) else { return false };
        if (new.uid(), new.gid()) != (old.uid(), old.gid())
            && chown(path, Some(old.uid()), Some(old.gid())).is_err()
        {
            return false;
        }
    }
    fs::set_permissions(path, old.permissions()).is_ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn write(path: &Path, replace: bool, text: &str) -> Result<()> {
        Destination::new(path, replace)?.write(text.as_bytes())
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_is_replaced_only_where_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, false, "one").unwrap();
        let error = write(&path, false, "two").unwrap_err();
        assert!(error.to_string().contains("exists already") && read(&path) == "one", "{error}");
        write(&path, true, "two").unwrap();
        assert_eq!(read(&path), "two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_came_in_the_meantime_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let (early, streamed) =
            (Destination::new(&path, false).unwrap(), Destination::new(&path, true).unwrap());
        fs::write(&path, "another's").unwrap();
        assert!(matches!(early.write(b"ours"), Err(DestinationError::Exists { .. })));
        assert!(matches!(streamed.stream(), Err(DestinationError::Exists { .. })));
        assert_eq!(read(&path), "another's");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_several_writers_at_once_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let written = std::thread::scope(|scope| {
            let places: Vec<_> = (0..8).map(|_| Destination::new(&path, false).unwrap()).collect();
            let write = |place: Destination| scope.spawn(move || place.write(b"whole").is_ok());
            let writers: Vec<_> = places.into_iter().map(write).collect();
            writers.into_iter().filter_map(|writer| writer.join().ok()).filter(|&ok| ok).count()
        });
        assert_eq!((written, read(&path).as_str()), (1, "whole"));
    }

    #[test]
    fn links_and_modes_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("target"), "old").unwrap();
        fs::set_permissions(at("target"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("target", at("link")).unwrap();
        write(&at("link"), true, "new").unwrap();
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(read(&at("target")), "new");
        assert_eq!(fs::metadata(at("target")).unwrap().permissions().mode() & 0o777, 0o600);
        fs::hard_link(at("target"), at("other name")).unwrap();
        write(&at("target"), true, "both").unwrap();
        assert_eq!(read(&at("other name")), "both");
        symlink("nowhere", at("dangling")).unwrap();
        for replace in [false, true] {
            let error = write(&at("dangling"), replace, "x").unwrap_err().to_string();
            assert!(error.contains("a link to nothing"), "{error}");
        }
        assert!(fs::symlink_metadata(at("dangling")).unwrap().is_symlink());
    }

    #[test]
    fn a_pipe_is_written_through_and_stays_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let reader = {
            let path = path.clone();
            std::thread::spawn(move || fs::read_to_string(path).unwrap())
        };
        write(&path, false, "a dog runs").unwrap();
        assert_eq!(reader.join().unwrap(), "a dog runs");
        assert!(!fs::metadata(&path).unwrap().is_file());
    }

    #[test]
    fn what_can_be_no_file_is_refused_before_the_work() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for (name, got) in [
            ("", "a folder"),
            ("missing/", "the name of a folder"),
            ("missing/a", "one in no folder"),
            ("file/a", "file/a"),
        ] {
            let error = Destination::new(&dir.path().join(name), true).unwrap_err();
            assert!(error.to_string().contains(got), "{name}: {error}");
            assert_eq!(error.fault(), Fault::BadInput);
        }
        assert!(Destination::new(Path::new(""), true).is_err());
        assert!(Destination::new(Path::new("/dev/stdout"), false).is_ok());
    }
}
