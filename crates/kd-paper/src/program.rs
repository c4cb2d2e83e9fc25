//! How a paper's program begins and ends.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use kd_experiment::Result;
use kd_experiment::cli::{self, DataChoices};

/// The body of a program's `main`: prepares the process, parses the arguments, with `data` as the
/// choices of `--data`, runs, and turns an error into a line on the standard error and an exit
/// code, 2 for bad input and 1 for our failure.
///
/// # Safety
/// The process has one thread, as [`kd_core::process::prepare`] asks.
pub unsafe fn main<A: CommandFactory + FromArgMatches>(
    data: impl Into<DataChoices>,
    run: impl FnOnce(&A) -> Result<()>,
) -> ExitCode {
    // SAFETY: the caller's promise.
    unsafe { kd_core::process::prepare() };
    // Where the system does not allow it, a signal ends the process at once, as by default.
    let _ = kd_base::stop::on_signals();
    cli::finish(run(&cli::parse(data)))
}
