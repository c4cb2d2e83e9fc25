//! What can go wrong between an experiment file and its table.

use std::io;
use std::path::{Path, PathBuf};

/// An error of a paper's own code, carried through the run without being understood here.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Result, with [`RunError`] where nothing else is said.
pub type Result<T, E = RunError> = std::result::Result<T, E>;

/// An error of the run: one line that says what and where.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An experiment file, or another file written by people, does not say what it has to.
    #[error("{file}: {message}")]
    File {
        /// The file, as the user would name it.
        file: String,
        /// What is wrong, with the key, what was expected and what was found.
        message: String,
    },
    /// Something on the command line names nothing that exists.
    #[error("{0}")]
    Input(String),
    /// The operating system refused a file operation: a folder that cannot be written, a full disk.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: read, write, create.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// A file of the run store cannot be understood. It is never redone silently: the numbers in it may have been reported.
    #[error("{}: {problem}; delete the folder {} to run this cell again", file.display(), dir.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The cell's folder, which the user may delete.
        dir: PathBuf,
        /// What is wrong with the file.
        problem: String,
    },
    /// A paper refused a cell's spec before any data was touched.
    #[error("{cell}: {source}")]
    Spec {
        /// The cell, as [`Cell::label`](super::Cell::label) names it.
        cell: String,
        /// The paper's reason.
        source: AnyError,
    },
    /// A cell could not be computed: a non-finite loss, or any error of the paper's code.
    #[error("{cell}: {source}")]
    Failed {
        /// The cell, as [`Cell::label`](super::Cell::label) names it.
        cell: String,
        /// The paper's reason.
        source: AnyError,
    },
    /// A table could not be decorated, or a plot could not be drawn.
    #[error("table {table}: {source}")]
    Decorate {
        /// The table.
        table: String,
        /// The reason.
        source: AnyError,
    },
    /// The data set could not be identified.
    #[error("{0}")]
    Data(#[source] AnyError),
}

impl RunError {
    /// True where the user has to change something (a file, an option, a full disk): exit code 2. False for our own failure: exit code 1.
    pub fn is_bad_input(&self) -> bool {
        match self {
            RunError::File { .. } | RunError::Input(_) | RunError::Io { .. } | RunError::Corrupt { .. } => true,
            RunError::Spec { .. } | RunError::Data(_) => true,
            RunError::Failed { source, .. } | RunError::Decorate { source, .. } => blames_the_machine(source.as_ref()),
        }
    }

    /// Wraps an io error with what was being done, and to which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError + use<> {
        let path = path.to_path_buf();
        move |source| RunError::Io { action, path, source }
    }

    /// An error in a file that people write.
    pub(crate) fn file(file: impl Into<String>, message: impl Into<String>) -> RunError {
        RunError::File { file: file.into(), message: message.into() }
    }
}

/// True where an error inside a cell comes down to a full or unwritable disk, or is itself a [`RunError`] of the user's making.
fn blames_the_machine(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<RunError>() {
            return error.is_bad_input();
        }
        if let Some(error) = error.downcast_ref::<crate::Error>() {
            return error.is_bad_input();
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
            );
        }
        next = error.source();
    }
    false
}

/// The text of an error on one line: parsers like to add source excerpts, which have no place in a one-line message.
pub(crate) fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_inside_a_cell_is_bad_input_and_other_failures_are_ours() {
        let failed = |source: AnyError| RunError::Failed { cell: "t/r seed 1".into(), source };
        let full = io::Error::new(io::ErrorKind::StorageFull, "No space left on device");
        assert!(failed(RunError::io("write", Path::new("checkpoint"))(full).into()).is_bad_input());
        assert!(failed(io::Error::from(io::ErrorKind::StorageFull).into()).is_bad_input());
        assert!(!failed("term `kd` is not finite".into()).is_bad_input());
    }

    #[test]
    fn an_io_error_keeps_the_systems_text_and_names_the_file() {
        let full = io::Error::new(io::ErrorKind::StorageFull, "No space left on device");
        let error = RunError::io("write", Path::new("runs/toy/result.json"))(full);
        assert_eq!(error.to_string(), "cannot write runs/toy/result.json: No space left on device");
    }

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(one_line(&"a\n  | b\n\nc"), "a; | b; c");
    }
}
