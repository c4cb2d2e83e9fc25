//! The error of a file operation.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Blame, Fault};

/// The operating system refused a file operation: a folder that cannot be written, a full disk. Bad
/// input, since the user can mend it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// A verb: read, write, create.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's own words.
    pub source: io::Error,
}

impl FileError {
    /// Wraps an io error with what was being done, and to which path.
    pub fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self { action, path, source }
    }
}

impl Blame for FileError {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_keeps_the_systems_text_and_names_the_file() {
        let full = io::Error::new(io::ErrorKind::StorageFull, "No space left on device");
        let error = FileError::of("write", Path::new("runs/toy/result.json"))(full);
        assert_eq!(error.to_string(), "cannot write runs/toy/result.json: No space left on device");
        assert_eq!(error.fault().exit_code(), 2);
    }
}
