//! Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 3, on
//! MNIST.
//!
//! `cargo run -p hinton-mnist` runs every table of `experiments/hinton-mnist` at the `quick`
//! preset. What is special to the paper is here: the cells ([`cells`]), their specifications
//! ([`spec`]) and the figures ([`figures`]). The rest is `kd-core`, `kd-experiment` and, between
//! the two, `kd-paper`.

mod cells;
mod ensemble;
mod figures;
mod omit;
mod paper;
mod spec;
mod transfer;

use std::process::ExitCode;

use candle_core::Device;
use clap::{Parser, Subcommand};
use kd_core::data::mnist;
use kd_experiment::cli::{self, Application, Files};
use kd_experiment::{Experiment, Result};
use kd_paper::Machine;
use kd_paper::compare::compare;

use crate::paper::HintonMnist;

/// Reproduces section 3 of "Distilling the Knowledge in a Neural Network" on MNIST.
///
/// Without a command: runs every table at the quick preset.
#[derive(Parser)]
#[command(name = HintonMnist::NAME, version, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    options: cli::Options,
    /// The digits that table `omitted-digit` leaves out of the transfer set, one at a time
    /// [default: 3]
    #[arg(long, global = true, value_name = "DIGIT,…", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..10))]
    omit: Vec<u8>,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  hinton-mnist                                       every table, in minutes
  hinton-mnist run distillation --preset paper       one table, as published
  hinton-mnist list --preset paper                   what is done, and what the rest costs
  hinton-mnist show distillation/student-distilled   a network's spec, result and curves
  hinton-mnist compare distillation/teacher distillation/student-distilled";

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
    },
}

/// The experiment files and published numbers, for a binary that is run away from the checkout.
const FILES: Files = Files {
    experiments: &[
        ("distillation", include_str!("../../../experiments/hinton-mnist/distillation.toml")),
        ("ensemble", include_str!("../../../experiments/hinton-mnist/ensemble.toml")),
        ("few-labels", include_str!("../../../experiments/hinton-mnist/few-labels.toml")),
        (
            "high-temperature-limit",
            include_str!("../../../experiments/hinton-mnist/high-temperature-limit.toml"),
        ),
        ("omitted-digit", include_str!("../../../experiments/hinton-mnist/omitted-digit.toml")),
        ("recipe", include_str!("../../../experiments/hinton-mnist/recipe.toml")),
        ("soft-targets", include_str!("../../../experiments/hinton-mnist/soft-targets.toml")),
        ("student-recipe", include_str!("../../../experiments/hinton-mnist/student-recipe.toml")),
        ("teacher-start", include_str!("../../../experiments/hinton-mnist/teacher-start.toml")),
        ("temperature", include_str!("../../../experiments/hinton-mnist/temperature.toml")),
        ("transfer-jitter", include_str!("../../../experiments/hinton-mnist/transfer-jitter.toml")),
        ("two-digits", include_str!("../../../experiments/hinton-mnist/two-digits.toml")),
        ("weight-cap", include_str!("../../../experiments/hinton-mnist/weight-cap.toml")),
    ],
    reference: include_str!("../../../results/hinton-mnist/reference.csv"),
};

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread.
    unsafe { kd_paper::main(&["auto", "mnist", "embedded"], run) }
}

fn run(arguments: &Arguments) -> Result<()> {
    let options = &arguments.options;
    let computes = !matches!(&arguments.command, Some(Command::Shared(c)) if !c.computes());
    let machine = Machine::start(options, computes)?;
    let request = mnist::MnistRequest::new(options.data.parse()?, options.data_dir.clone());
    let paper = HintonMnist::new(request, machine);
    let adjust = |experiments: &mut Vec<Experiment>| omit::apply(experiments, &arguments.omit);
    let progress = cli::progress();
    let application =
        Application { paper: &paper, options, files: FILES, adjust: &adjust, progress: &*progress };
    let out = &mut std::io::stdout();
    match &arguments.command {
        None => cli::execute(&cli::Command::default(), &application, out),
        Some(Command::Shared(command)) => cli::execute(command, &application, out),
        Some(Command::Compare { teacher, student }) => {
            let test = || {
                let test = &paper.data()?.0.test;
                Ok((test.to_tensor(&Device::Cpu)?, test.labels.clone()))
            };
            compare([teacher, student], &application, paper.machine(), test, out)
        }
    }
}
