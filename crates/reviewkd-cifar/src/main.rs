//! Chen, Liu, Zhao and Jia 2021, "Distilling Knowledge via Knowledge Review", on CIFAR.
//!
//! `cargo run -p reviewkd-cifar` runs every table of `experiments/reviewkd-cifar` at the `quick`
//! preset.

mod cells;
mod export;
mod figures;
mod import;
mod normalisation;
mod paper;
mod precision;
mod spec;
mod teachers;

use std::process::ExitCode;

use candle_core::Device;
use clap::{Parser, Subcommand};
use kd_core::data::{Normalisation, cifar};
use kd_experiment::cli::{self, Application, Files};
use kd_experiment::{Experiment, Result};
use kd_paper::Machine;
use kd_paper::compare::compare;

use crate::paper::ReviewKd;
use crate::precision::Precision;
use crate::teachers::TeacherFile;

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
    /// A trained network, in place of the teacher of this network that a table would train:
    /// resnet56=FILE, or resnet56:reviewkd=FILE where it was not trained with normalisation
    /// crd
    #[arg(long = "teacher", global = true, value_name = "NETWORK=FILE")]
    imported: Vec<TeacherFile>,
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
        /// The smaller network, named in the same way
        student: String,
        /// The normalisation that both were trained with: reviewkd or crd
        #[arg(long, default_value = "reviewkd", value_parser = normalisation::parse)]
        normalisation: Normalisation,
    },
    /// Convert a PyTorch checkpoint and, where CIFAR is at hand, print its accuracy
    Import(import::Arguments),
    /// Write a network so that PyTorch loads it with load_state_dict(strict=True)
    Export(export::Arguments),
}

/// The experiment files and published numbers, for a binary that is run away from the checkout.
const FILES: Files = Files {
    experiments: &[
        ("ablation", include_str!("../../../experiments/reviewkd-cifar/ablation.toml")),
        ("conv-precision", include_str!("../../../experiments/reviewkd-cifar/conv-precision.toml")),
        ("cost", include_str!("../../../experiments/reviewkd-cifar/cost.toml")),
        ("cross-stage", include_str!("../../../experiments/reviewkd-cifar/cross-stage.toml")),
        (
            "different-architecture",
            include_str!("../../../experiments/reviewkd-cifar/different-architecture.toml"),
        ),
        ("loss-weights", include_str!("../../../experiments/reviewkd-cifar/loss-weights.toml")),
        (
            "same-architecture",
            include_str!("../../../experiments/reviewkd-cifar/same-architecture.toml"),
        ),
        ("student", include_str!("../../../experiments/reviewkd-cifar/student.toml")),
    ],
    reference: include_str!("../../../results/reviewkd-cifar/reference.csv"),
};

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread.
    unsafe { kd_paper::main(&["auto", "cifar100", "cifar10", "embedded"], run) }
}

fn run(arguments: &Arguments) -> Result<()> {
    let options = &arguments.options;
    let machine = Machine::start(options)?;
    let request = cifar::CifarRequest::new(options.data.parse()?, options.data_dir.clone());
    let paper = ReviewKd::new(request, machine);
    let adjust = |experiments: &mut Vec<Experiment>| {
        precision::apply(experiments, arguments.conv);
        paper.set_teachers(teachers::replace(experiments, options.preset, &arguments.imported)?);
        Ok(())
    };
    let progress = cli::progress();
    let application =
        Application { paper: &paper, options, files: FILES, adjust: &adjust, progress: &*progress };
    let out = &mut std::io::stdout();
    match &arguments.command {
        None => cli::execute(&cli::Command::default(), &application, out),
        Some(Command::Shared(command)) => cli::execute(command, &application, out),
        Some(Command::Compare { teacher, student, normalisation }) => {
            let test = || {
                let test = &paper.data()?.0.test;
                Ok((
                    normalisation.range_to_tensor(test, 0..test.len(), &Device::Cpu)?,
                    test.labels.clone(),
                ))
            };
            compare([teacher, student], &application, paper.machine(), test, out)
        }
        Some(Command::Import(import)) => import::run(&paper, import, out),
        Some(Command::Export(export)) => export::run(export, &application, out),
    }
}
