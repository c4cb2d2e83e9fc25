//! Chen, Liu, Zhao and Jia 2021, "Distilling Knowledge via Knowledge Review", on CIFAR.
//!
//! `cargo run -p reviewkd-cifar` runs every table of `experiments/reviewkd-cifar` at the `quick` preset.

mod cells;
mod compare;
mod export;
mod import;
mod paper;
mod precision;
mod spec;
mod teachers;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use kd_core::cli::{self, Application};
use kd_core::data::{Normalisation, cifar};
use kd_core::run::{AnyError, DataIdentity, Experiment, RunError};
use kd_core::{Error, device};

use crate::paper::ReviewKd;
use crate::precision::Precision;
use crate::teachers::TeacherFile;

/// Chosen by measurement: a training step makes and drops tensors of megabytes, and the system's allocator gives their pages
/// back and faults them in again at every step.
#[global_allocator]
static ALLOCATOR: kd_core::memory::Allocator = kd_core::memory::Allocator;

/// Trains the networks of "Distilling Knowledge via Knowledge Review" on CIFAR.
///
/// Without a command: runs every table at the quick preset.
#[derive(Parser)]
#[command(name = ReviewKd::NAME, version)]
struct Arguments {
    #[command(flatten)]
    options: cli::Options,
    /// Precision of convolutions on the CPU, in place of the experiment files'
    #[arg(long, global = true)]
    conv: Option<Precision>,
    /// A trained network, in place of the teacher of this network that a table would train: resnet56=FILE, or resnet56:reviewkd=FILE where
    /// it was not trained with normalisation crd
    #[arg(long, global = true, value_name = "NETWORK=FILE")]
    teacher: Vec<TeacherFile>,
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
        /// The normalisation that both were trained with: reviewkd or crd
        #[arg(long, default_value = "reviewkd", value_parser = import::normalisation)]
        normalisation: Normalisation,
    },
    /// Convert a PyTorch checkpoint and, where CIFAR is at hand, print its accuracy
    Import(import::Arguments),
    /// Write a network so that PyTorch loads it with load_state_dict(strict=True)
    Export(export::Arguments),
}

/// The experiment files, for a binary that is run away from the checkout.
const EXPERIMENTS: [(&str, &str); 6] = [
    ("ablation", include_str!("../../../experiments/reviewkd-cifar/ablation.toml")),
    ("conv-precision", include_str!("../../../experiments/reviewkd-cifar/conv-precision.toml")),
    ("cross-stage", include_str!("../../../experiments/reviewkd-cifar/cross-stage.toml")),
    ("loss-weights", include_str!("../../../experiments/reviewkd-cifar/loss-weights.toml")),
    ("same-architecture", include_str!("../../../experiments/reviewkd-cifar/same-architecture.toml")),
    ("student", include_str!("../../../experiments/reviewkd-cifar/student.toml")),
];

/// The published numbers, likewise.
const REFERENCE: &str = include_str!("../../../results/reviewkd-cifar/reference.csv");

fn main() -> ExitCode {
    cli::prepare_process();
    let arguments: Arguments = cli::parse(&["auto", "cifar100", "cifar10", "embedded"]);
    cli::finish(run(&arguments), Error::is_bad_input)
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let options = &arguments.options;
    options.start_threads()?;
    let source = options.data.parse::<cifar::Source>()?;
    let request = cifar::Request::new(source, options.data_dir.clone());
    let paper = ReviewKd::new(request, device::open(options.device)?, Duration::from_secs(options.save_every));
    let progress = cli::progress();
    let identity = || -> Result<DataIdentity, AnyError> { Ok(DataIdentity::from(&paper.data()?.1)) };
    let adjust = |experiments: &mut Vec<Experiment>| -> Result<(), RunError> {
        precision::apply(experiments, arguments.conv);
        let files = teachers::replace(experiments, options.preset, &arguments.teacher).map_err(|e| RunError::Input(e.to_string()))?;
        paper.set_teachers(files);
        Ok(())
    };
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
        Some(Command::Compare { teacher, student, normalisation }) => {
            compare::run(&paper, options, &application, [teacher, student], *normalisation, out)?
        }
        Some(Command::Import(import)) => import::run(&paper, import, out)?,
        Some(Command::Export(export)) => export::run(export, options, &application, out)?,
    }
    Ok(())
}
