//! What can go wrong between an experiment file and its table.

use std::io;
use std::path::{Path, PathBuf};

use kd_base::{Blame, Fault, FileError, message};

/// Result, with [`Error`] where nothing else is said.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a run: one line that says what and where, and [whose fault](Error::fault) it is. A
/// paper's own code returns it too: any error that tells whose fault it is ([`Blame`]) becomes one
/// with `?`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An experiment file, or another file written by people, does not say what it has to.
    #[error("{file}: {message}")]
    File {
        /// The file, as the user would name it.
        file: String,
        /// What is wrong, with the key, what was expected and what was found.
        message: String,
    },
    /// Something that the user gave names nothing that exists, or does not fit.
    #[error("{0}")]
    BadInput(String),
    /// The operating system refused a file operation.
    #[error(transparent)]
    Io(FileError),
    /// A file of the run store cannot be understood. It is never redone silently: the numbers in it
    /// may have been reported.
    #[error("{}: {problem}; delete the folder {} to run this cell again", file.display(), dir.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The cell's folder, which the user may delete.
        dir: PathBuf,
        /// What is wrong with the file.
        problem: String,
    },
    /// A cell's spec was refused, or it could not be computed.
    #[error("{cell}: {source}")]
    Cell {
        /// The cell, as [`Cell::label`](crate::Cell::label) names it.
        cell: String,
        /// The reason.
        source: Box<Error>,
    },
    /// A table could not be decorated.
    #[error("table {table}: {source}")]
    Table {
        /// The table.
        table: String,
        /// The reason.
        source: Box<Error>,
    },
    /// Cells of a run failed, or could not be run for want of what they need.
    #[error("{}", failed(failures))]
    Failed {
        /// Each of them, in their order.
        failures: Vec<CellFailure>,
        /// The worst of their faults.
        fault: Fault,
    },
    /// The run was asked to stop. What is done is kept.
    #[error("stopped, {} left; the same command goes on from here{}", cells(*.left), place(.at))]
    Stopped {
        /// Cells that are not finished.
        left: usize,
        /// Where the cell that was running was stopped.
        at: Option<Box<Error>>,
    },
    /// The program failed: a result that is not finite, a picture that cannot be drawn.
    #[error("{0}")]
    Failure(String),
    /// An error of a library that the paper's code calls.
    #[error("{source}")]
    Library {
        /// Whose fault it is, as the error itself said.
        fault: Fault,
        /// The error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn cells(count: usize) -> String {
    if count == 1 { "1 cell".to_owned() } else { format!("{count} cells") }
}

/// A cell that a run did not finish.
#[derive(Debug)]
pub struct CellFailure {
    /// The cell, as [`Cell::label`](crate::Cell::label) names it.
    pub cell: String,
    /// What happened.
    pub reason: Reason,
}

/// Why a run did not finish a cell.
#[derive(Debug)]
pub enum Reason {
    /// It failed.
    Failed {
        /// The cause.
        error: Box<Error>,
        /// Where to read on: the log of the process, or the cell's folder.
        place: PathBuf,
    },
    /// It needs a cell that is not finished.
    Wants {
        /// That cell, and what is known of it.
        cell: String,
        /// Whose fault that is.
        fault: Fault,
    },
}

impl CellFailure {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match &self.reason {
            Reason::Failed { error, .. } => error.fault(),
            Reason::Wants { fault, .. } => *fault,
        }
    }
}

impl std::fmt::Display for CellFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            Reason::Failed { error, place } => {
                // Most errors of a cell begin with its name.
                let error = message::one_line(error);
                let cause = error.strip_prefix(&format!("{}: ", self.cell)).unwrap_or(&error);
                write!(f, "failed {}: {cause}; see {}", self.cell, place.display())
            }
            Reason::Wants { cell, .. } => write!(f, "not run {}: it needs {cell}", self.cell),
        }
    }
}

/// The one cell that failed or was not run, with its cause; of several `2 cells failed, 1 cell not run for want of
/// another: a, b, c`.
fn failed(failures: &[CellFailure]) -> String {
    let (own, wanting): (Vec<_>, Vec<_>) =
        failures.iter().partition(|failure| matches!(failure.reason, Reason::Failed { .. }));
    let not_run = wanting.len();
    match (own.as_slice(), not_run) {
        ([one], 0) => return one.to_string(),
        ([], 1) => return wanting[0].to_string(),
        ([one], n) => return format!("{one}; {} not run for want of it", cells(n)),
        _ => {}
    }
    let mut counts = Vec::new();
    if not_run < failures.len() {
        counts.push(format!("{} failed", cells(failures.len() - not_run)));
    }
    if not_run > 0 {
        counts.push(format!("{} not run for want of another", cells(not_run)));
    }
    let names: Vec<&str> = failures.iter().map(|failure| failure.cell.as_str()).collect();
    format!("{}: {}", counts.join(", "), names.join(", "))
}

fn place(at: &Option<Box<Error>>) -> String {
    at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default()
}

impl<E: Blame> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Library { fault: error.fault(), source: Box::new(error) }
    }
}

impl Error {
    /// An error about what the user gave. A message may quote a file: control characters are
    /// written as escapes.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::BadInput(message::escaped(message.into()))
    }

    /// A failure of the program's own.
    pub fn failure(message: impl Into<String>) -> Self {
        Self::Failure(message.into())
    }

    /// Whose fault it is: the user's where a file, an option or a full disk has to change, the
    /// program's elsewhere. What a cell or a table says of its error is the error's own fault.
    pub fn fault(&self) -> Fault {
        match self {
            Self::File { .. } | Self::BadInput(_) | Self::Io(_) | Self::Corrupt { .. } => {
                Fault::BadInput
            }
            Self::Failure(_) => Fault::Program,
            Self::Library { fault, .. } | Self::Failed { fault, .. } => *fault,
            Self::Stopped { .. } => Fault::Stopped,
            Self::Cell { source, .. } | Self::Table { source, .. } => source.fault(),
        }
    }

    /// Whether the user can mend it.
    pub fn is_bad_input(&self) -> bool {
        self.fault() == Fault::BadInput
    }

    /// The same error, said of a cell.
    pub(crate) fn of_cell(self, cell: &str) -> Self {
        Self::Cell { cell: cell.to_owned(), source: Box::new(self) }
    }

    /// Wraps an io error with what was being done, and to which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let of = FileError::of(action, path);
        move |source| Self::Io(of(source))
    }

    /// An error in a file that people write.
    pub(crate) fn file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::File { file: file.into(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cells_error_keeps_the_fault_and_the_text_of_what_happened_in_it() {
        let full = || io::Error::new(io::ErrorKind::StorageFull, "No space left on device");
        let file = FileError::of("write", Path::new("checkpoint"))(full());
        let in_cell = |error: Error| error.of_cell("t/r seed 1");
        assert_eq!(
            in_cell(file.into()).to_string(),
            "t/r seed 1: cannot write checkpoint: No space left on device"
        );
        assert!(in_cell(FileError::of("write", Path::new("a"))(full()).into()).is_bad_input());
        assert!(in_cell(Error::io("write", Path::new("a"))(full())).is_bad_input());
        assert!(!in_cell(Error::failure("term `kd` is not finite")).is_bad_input());
    }

    #[test]
    fn a_librarys_error_is_the_fault_of_whom_it_says() {
        #[derive(Debug, thiserror::Error)]
        #[error("library")]
        struct LibraryError(Fault);
        impl Blame for LibraryError {
            fn fault(&self) -> Fault {
                self.0
            }
        }
        for fault in [Fault::BadInput, Fault::Program] {
            let error =
                Error::Table { table: "t".into(), source: Box::new(LibraryError(fault).into()) };
            assert_eq!((error.fault(), error.to_string()), (fault, "table t: library".to_owned()));
        }
    }
}
