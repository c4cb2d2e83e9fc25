//! What a program writes, and how it ends.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use kd_base::{DestinationError, Fault, FileError, message};

use crate::error::{Error, Result};

/// Ends a program: prints an error as one line, `error: ...`, and turns it into the exit code, 2
/// for bad input and 1 for our failure. A reader that closed the pipe of the program's output
/// (`... | head`) has seen enough: that is no error.
pub fn finish(outcome: Result<()>) -> ExitCode {
    match outcome {
        Err(error) if !is_closed_pipe(&error) => {
            let what = if error.fault() == Fault::Stopped { "" } else { "error: " };
            remark(format_args!("{what}{}", message::one_line(&error)));
            ExitCode::from(error.fault().exit_code())
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Writes a line to the standard error. Where that cannot be written, nobody is there to be told.
pub fn remark(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What clap says of arguments that it does not take, as one line: its hints stay, its usage goes.
pub(super) fn usage_error(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said =
        said.take_while(|line| !["Usage:", "For more"].iter().any(|start| line.starts_with(start)));
    let mut all = String::new();
    for line in said {
        let between = match all.chars().last() {
            None => "",
            Some(':') => " ",
            Some(_) => "; ",
        };
        all.push_str(between);
        all.push_str(line);
    }
    format!("{all}; see --help")
}

/// Writes a line to a program's output.
///
/// # Errors
/// When it cannot be written.
pub fn say(out: &mut dyn Write, line: impl Display) -> Result<()> {
    writeln!(out, "{line}").map_err(output_error)
}

/// The error of a write to the program's output. That of a closed pipe ends the program quietly, see
/// [`finish`].
pub fn output_error(error: io::Error) -> Error {
    Error::Io(FileError { action: "write", path: "standard output".into(), source: error })
}

fn is_closed_pipe(error: &Error) -> bool {
    let file = match error {
        Error::Io(file) => Some(file),
        Error::Library { source, .. } => match source.downcast_ref() {
            Some(DestinationError::Io(file)) => Some(file),
            _ => None,
        },
        Error::Cell { source, .. } | Error::Table { source, .. } => return is_closed_pipe(source),
        _ => None,
    };
    file.is_some_and(|file| file.source.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command};

    #[test]
    fn what_clap_says_is_one_line() {
        let command = || {
            Command::new("toy")
                .arg(Arg::new("seeds").long("seeds"))
                .arg(Arg::new("student").long("student").required(true))
                .arg(Arg::new("method").long("method").required(true))
        };
        let said = |arguments: &[&str]| {
            let all = std::iter::once("toy").chain(arguments.iter().copied());
            usage_error(&command().try_get_matches_from(all).unwrap_err())
        };
        assert_eq!(
            said(&["--sed", "1"]),
            "error: unexpected argument '--sed' found; tip: a similar argument exists: '--seeds'; see --help"
        );
        assert_eq!(
            said(&[]),
            "error: the following required arguments were not provided: --student <student>; --method <method>; see --help"
        );
    }

    #[test]
    fn a_closed_pipe_is_known_however_deep_it_lies() {
        let closed = |kind: io::ErrorKind| output_error(kind.into());
        assert!(is_closed_pipe(&closed(io::ErrorKind::BrokenPipe)));
        assert!(!is_closed_pipe(&closed(io::ErrorKind::StorageFull)));
        let source = Box::new(closed(io::ErrorKind::BrokenPipe));
        assert!(is_closed_pipe(&Error::Table { table: "t".to_owned(), source }));
        let file = FileError::of("write", "pipe".as_ref())(io::ErrorKind::BrokenPipe.into());
        assert!(is_closed_pipe(&DestinationError::from(file).into()));
    }
}
