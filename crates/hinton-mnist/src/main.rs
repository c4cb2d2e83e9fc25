//! Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 3, on MNIST.
//!
//! `cargo run -p hinton-mnist` runs every table of `experiments/hinton-mnist` at the `quick` preset. What is special to the
//! paper is here: the cells ([`cells`]), their specifications ([`spec`]) and the figures ([`figures`]). The rest is `kd-core`.

mod cells;
mod compare;
mod ensemble;
mod figures;
mod omit;
mod paper;
mod spec;
mod transfer;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use kd_core::cli::{self, Application};
use kd_core::data::mnist;
use kd_core::run::{AnyError, DataIdentity, RunError};
use kd_core::{Error, device};

use crate::paper::HintonMnist;

/// Chosen by measurement: a training step makes and drops tensors of megabytes, and the system's allocator gives their pages
/// back and faults them in again at every step.
#[global_allocator]
static ALLOCATOR: kd_core::memory::Allocator = kd_core::memory::Allocator;

/// Reproduces section 3 of "Distilling the Knowledge in a Neural Network" on MNIST.
///
/// Without a command: runs every table at the quick preset.
#[derive(Parser)]
#[command(name = HintonMnist::NAME, version)]
struct Arguments {
    #[command(flatten)]
    options: cli::Options,
    /// The digits that table `omitted-digit` leaves out of the transfer set, one at a time [default: 3]
    #[arg(long, global = true, value_name = "DIGIT,…", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..10))]
    omit: Vec<u8>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Shared(cli::Command),
    /// Compare two networks on the test images: errors, agreement, calibration, size and speed
    Compare {
        /// A network's file, or TABLE/ROW[#SEED] of a finished cell at this preset
        teacher: String,
        /// Likewise
        student: String,
    },
}

/// The experiment files, for a binary that is run away from the checkout.
const EXPERIMENTS: [(&str, &str); 13] = [
    ("distillation", include_str!("../../../experiments/hinton-mnist/distillation.toml")),
    ("ensemble", include_str!("../../../experiments/hinton-mnist/ensemble.toml")),
    ("few-labels", include_str!("../../../experiments/hinton-mnist/few-labels.toml")),
    ("high-temperature-limit", include_str!("../../../experiments/hinton-mnist/high-temperature-limit.toml")),
    ("omitted-digit", include_str!("../../../experiments/hinton-mnist/omitted-digit.toml")),
    ("recipe", include_str!("../../../experiments/hinton-mnist/recipe.toml")),
    ("soft-targets", include_str!("../../../experiments/hinton-mnist/soft-targets.toml")),
    ("student-recipe", include_str!("../../../experiments/hinton-mnist/student-recipe.toml")),
    ("teacher-start", include_str!("../../../experiments/hinton-mnist/teacher-start.toml")),
    ("temperature", include_str!("../../../experiments/hinton-mnist/temperature.toml")),
    ("transfer-jitter", include_str!("../../../experiments/hinton-mnist/transfer-jitter.toml")),
    ("two-digits", include_str!("../../../experiments/hinton-mnist/two-digits.toml")),
    ("weight-cap", include_str!("../../../experiments/hinton-mnist/weight-cap.toml")),
];

/// The published numbers, likewise.
const REFERENCE: &str = include_str!("../../../results/hinton-mnist/reference.csv");

fn main() -> ExitCode {
    cli::prepare_process();
    let arguments: Arguments = cli::parse(&["auto", "mnist", "embedded"]);
    cli::finish(run(&arguments), Error::is_bad_input)
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let options = &arguments.options;
    options.start_threads()?;
    let source = options.data.parse::<mnist::Source>()?;
    let request = mnist::Request::new(source, options.data_dir.clone());
    let paper = HintonMnist::new(request, device::open(options.device)?, Duration::from_secs(options.save_every));
    let progress = cli::progress();
    let identity = || -> Result<DataIdentity, AnyError> { Ok(DataIdentity::from(&paper.data()?.1)) };
    let adjust = |experiments: &mut Vec<kd_core::run::Experiment>| -> Result<(), RunError> { omit::apply(experiments, &arguments.omit) };
    let application = Application {
        paper: &paper,
        experiments: &EXPERIMENTS,
        reference: REFERENCE,
        identity: &identity,
        adjust: &adjust,
        progress: &*progress,
    };
    let out = &mut std::io::stdout();
    match &arguments.command {
        None => cli::execute(&cli::Command::default(), options, &application, out)?,
        Some(Command::Shared(command)) => cli::execute(command, options, &application, out)?,
        Some(Command::Compare { teacher, student }) => compare::run(&paper, options, &application, teacher, student, out)?,
    }
    Ok(())
}
