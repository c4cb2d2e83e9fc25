//! What a program writes, and how it ends.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use kd_base::{FileError, message};

use crate::error::{Error, Result};

/// Ends a program: prints an error as one line, `error: ...`, and turns it into the exit code, 2
/// for bad input and 1 for our failure.
pub fn finish(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message::one_line(&error));
            ExitCode::from(error.fault().exit_code())
        }
    }
}

/// Writes a line to a program's output.
///
/// # Errors
/// When it cannot be written.
pub fn say(out: &mut dyn Write, line: impl Display) -> Result<()> {
    writeln!(out, "{line}").map_err(output_error)
}

/// The error of a write to the program's output. A reader that closed the pipe (`... | head`) has
/// seen enough: that is no error, and [`execute`](super::execute()) then ends quietly.
pub fn output_error(error: io::Error) -> Error {
    Error::Io(FileError { action: "write", path: "standard output".into(), source: error })
}

pub(super) fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io(FileError { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe)
}
