//! Arguments and commands that every binary shares.
//!
//! A binary flattens [`Options`] and [`Command`] into its own arguments and adds what is special to
//! it:
//!
//! ```no_run
//! use clap::{Parser, Subcommand};
//! use kd_experiment::cli;
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
//! and hands the shared commands to [`execute`], which prints tables to the writer it is given and
//! progress to the terminal. Exit codes: 0 done; 2 bad input, clap's own errors included; 1 our
//! failure. Messages are one line on the standard error.

mod application;
mod commands;
mod comparison;
mod data_choices;
mod epochs;
mod experiments;
mod made;
mod named_cell;
mod options;
mod output;
mod progress;
mod report;
mod shell;
mod show;
mod slurm;
mod status;
mod sweep;
mod task_arguments;

use std::ffi::OsString;

pub use application::{Application, Files};
pub use commands::{Command, execute};
pub use comparison::{Measure, print_comparison};
pub use data_choices::DataChoices;
pub use kd_base::DeviceChoice;
pub use made::run_made;
pub use named_cell::{find_network, finished_cell, run_cell};
pub use options::Options;
pub use output::{finish, output_error, remark, say};
pub use progress::{Bars, PlainLines, progress};
pub use slurm::Submission;
pub use sweep::Arguments as SweepArguments;

/// Parses the process's arguments, with `data` as the choices of `--data`. On `--help` and on
/// errors the process ends here: code 0 and 2. An error is one line.
pub fn parse<T: clap::CommandFactory + clap::FromArgMatches>(data: impl Into<DataChoices>) -> T {
    let data = data.into();
    shell::answer(command::<T>(data));
    try_parse(data, std::env::args_os()).unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        output::remark(output::usage_error(&error));
        std::process::exit(error.exit_code())
    })
}

/// [`parse`] for given arguments, the program's name first, and with the error returned.
pub fn try_parse<T: clap::CommandFactory + clap::FromArgMatches>(
    data: impl Into<DataChoices>,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<T, clap::Error> {
    let arguments = arguments.into_iter().map(Into::into).collect();
    T::from_arg_matches(&task_arguments::matches(command::<T>(data.into()), arguments)?)
}

/// The program's arguments, with `data` as the choices of `--data`.
fn command<T: clap::CommandFactory>(data: DataChoices) -> clap::Command {
    T::command().mut_arg("data", |argument| data.of(argument))
}
