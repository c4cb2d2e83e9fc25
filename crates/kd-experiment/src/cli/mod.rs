//! Arguments and commands that every binary shares.
//!
//! A binary flattens [`Options`] and [`Command`] into its own arguments and adds what is special to it:
//!
//! ```no_run
//! use clap::{Parser, Subcommand};
//! use kd_core::cli;
//!
//! #[derive(Parser)]
//! struct Arguments {
//!     #[command(flatten)]
//!     options: cli::Options,
//!     #[command(subcommand)]
//!     command: Option<Command>,
//! }
//!
//! #[derive(Subcommand)]
//! enum Command {
//!     #[command(flatten)]
//!     Shared(cli::Command),
//!     /// Compare a student with its teacher.
//!     Compare { teacher: String, student: String },
//! }
//!
//! let arguments: Arguments = cli::parse(&["auto", "mnist", "embedded"]);
//! ```
//!
//! and hands the shared commands to [`execute`], which prints tables to the writer it is given and progress to the terminal.
//! Exit codes: 0 done; 2 bad input, clap's own errors included; 1 our failure. Messages are one line on the standard error.

mod commands;
mod compare;
mod experiments;
mod options;
mod progress;

use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

pub use crate::device::DeviceChoice;
pub use commands::{Application, Command, execute, finished_cell, run_cell};
pub use compare::{find_network, print_comparison};
pub use options::Options;
pub use progress::{Bars, PlainLines, progress};

use crate::run::{RunError, one_line};

/// To be called first in `main`, before anything computes: keeps Candle's own element-wise ops on the calling thread, and freed memory
/// ([`crate::memory::keep_freed_memory`]).
///
/// Candle runs them on a pool whose idle threads spin, and which takes the cores from the threads of our kernels: a training step
/// is slower with it. A value that the user gave to `CANDLE_NUM_THREADS` is left alone.
pub fn prepare_process() {
    crate::memory::keep_freed_memory();
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: the process has one thread so far, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
}

/// Parses the process's arguments, with `data` as the choices of `--data`. On `--help` and on errors the process ends here, as clap does
/// it: code 0 and 2.
pub fn parse<T: clap::CommandFactory + clap::FromArgMatches>(data: &'static [&'static str]) -> T {
    try_parse(data, std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// [`parse`] for given arguments, the program's name first, and with the error returned.
pub fn try_parse<T: clap::CommandFactory + clap::FromArgMatches>(
    data: &'static [&'static str],
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<T, clap::Error> {
    let choices = clap::builder::PossibleValuesParser::new(data);
    let command = T::command().mut_arg("data", |argument| argument.value_parser(choices));
    T::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Ends a program: prints an error as one line, `error: ...`, and turns it into the exit code, 2 for bad input and 1 for our failure.
pub fn finish<E: Display>(outcome: Result<(), E>, is_bad_input: impl FnOnce(&E) -> bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            ExitCode::from(if is_bad_input(&error) { 2 } else { 1 })
        }
    }
}

/// The error of a write to the program's output. A reader that closed the pipe (`... | head`) has seen enough: that is no error, and
/// [`execute`] then ends quietly.
fn output_error(error: io::Error) -> RunError {
    RunError::Io { action: "write", path: "standard output".into(), source: error }
}

fn is_closed_pipe(error: &RunError) -> bool {
    matches!(error, RunError::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}
