//! The one error type of the crate, and the rule that turns an error into an exit code.

use std::path::PathBuf;

use kd_base::{Blame, Fault, FileError, message};

/// Result, with the crate's [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, one line each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the user gave cannot be used: the message says what and where, what was expected and
    /// what was found.
    #[error("{0}")]
    BadInput(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A loss term stopped being finite.
    #[error("loss term '{term}' is {value} at epoch {epoch}, step {step}: training stopped")]
    NonFinite {
        /// Name of the term.
        term: String,
        /// The value: NaN or an infinity.
        value: f32,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Step within the epoch, counted from 1.
        step: usize,
    },
    /// A training run was asked to stop: its state is saved, where it keeps one.
    #[error("stopped at epoch {epoch}, step {step}")]
    Stopped {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Steps of it that are behind us.
        step: usize,
    },
    /// A data set could not be loaded.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// A file operation that names what was being done was refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A tensor operation failed: a fault of ours.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// An error about what the user gave. A message may quote a file: control characters, line ends
    /// among them, are written as escapes, so that it stays one line.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::BadInput(message::escaped(message.into()))
    }

    /// Checks that a setting lies between two numbers, both included: what lies outside is refused
    /// before time or memory is spent on it.
    ///
    /// # Errors
    /// Bad input that names the setting, both bounds and what it is.
    pub fn unless_within(
        what: &str,
        value: usize,
        bounds: std::ops::RangeInclusive<usize>,
    ) -> Result<()> {
        if !bounds.contains(&value) {
            return Err(Self::bad_input(format!(
                "{what}: expected {} to {}, got {value}",
                bounds.start(),
                bounds.end()
            )));
        }
        Ok(())
    }

    /// An error of the operating system about `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// Whether the user can mend it: exit code 2 if so, 1 otherwise.
    pub fn is_bad_input(&self) -> bool {
        self.fault() == Fault::BadInput
    }
}

impl Blame for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::BadInput(_) | Self::Io { .. } => Fault::BadInput,
            Self::File(e) => e.fault(),
            Self::Data(e) => e.fault(),
            Self::NonFinite { .. } | Self::Tensor(_) => Fault::Program,
            Self::Stopped { .. } => Fault::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_outside_its_bounds_is_bad_input_that_names_it_and_them() {
        assert!(
            Error::unless_within("train.epochs", 0, 0..=9).is_ok()
                && Error::unless_within("train.epochs", 9, 0..=9).is_ok()
        );
        let error = Error::unless_within("train.epochs", 10, 0..=9).expect_err("beyond the bound");
        assert!(error.is_bad_input());
        assert_eq!(error.to_string(), "train.epochs: expected 0 to 9, got 10");
    }
}
