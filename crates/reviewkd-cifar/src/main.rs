//! Chen, Liu, Zhao and Jia 2021, "Distilling Knowledge via Knowledge Review", on CIFAR.
//!
//! `cargo run -p reviewkd-cifar` runs every table of `experiments/reviewkd-cifar` at the `quick`
//! preset.

mod cells;
mod compare;
mod data;
mod eval;
mod export;
mod figures;
mod import;
mod network_file;
mod normalisation;
mod paper;
mod precision;
mod recipe;
mod spec;
mod stored_teacher;
mod teachers;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kd_core::Error;
use kd_experiment::cli::{self, Application, DataChoices, Files};
use kd_experiment::{Experiment, Result};
use kd_paper::Machine;

use crate::network_file::NetworkFile;
use crate::paper::ReviewKd;
use crate::precision::Precision;
use crate::stored_teacher::{Stores, Views};

/// Trains the networks of "Distilling Knowledge via Knowledge Review" on CIFAR.
///
/// Without a command: runs every table at the quick preset.
#[derive(Parser)]
#[command(name = ReviewKd::NAME, version, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    options: cli::Options,
    /// Precision of convolutions on the CPU, in place of the experiment files'
    #[arg(long, global = true)]
    conv: Option<Precision>,
    /// A trained network: of `train` the teacher, elsewhere in place of the teacher of this network
    /// that a table would train. A file of this workspace or a checkpoint of PyTorch, as FILE (the
    /// network is told by its tensors), NETWORK=FILE or NETWORK:NORMALISATION=FILE; a checkpoint that
    /// does not say its normalisation was trained with crd
    #[arg(long = "teacher", global = true, value_name = "[NETWORK=]FILE")]
    teachers: Vec<String>,
    /// Keep what teachers say of the training images in teacher-outputs/ among the runs, and compute
    /// it once for all students of a seed. VIEWS is how many augmentations of each image there are:
    /// `all` for one each epoch, which changes no result; a number for so many, which are seen again
    /// and again (another cell, where it has more epochs)
    #[arg(long, global = true, value_name = "VIEWS")]
    store_teacher: Option<Views>,
    /// Most that the outputs of one teacher and seed may take, in GiB. With `all` the oldest make room
    #[arg(
        long,
        global = true,
        value_name = "GIB",
        default_value_t = 20.,
        requires = "store_teacher"
    )]
    store_limit: f64,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  reviewkd-cifar                                    every table, in minutes
  reviewkd-cifar run ablation --preset laptop --teacher resnet56=resnet56.pth
  reviewkd-cifar train --student resnet20 --teacher resnet56.pth --method review --to student.safetensors
  reviewkd-cifar eval student.safetensors
  reviewkd-cifar run same-architecture --preset laptop --store-teacher all    computes each teacher's outputs once
  reviewkd-cifar show same-architecture/resnet56-resnet20-review
  reviewkd-cifar submit ablation --slurm --dry-run --preset paper    as jobs of Slurm: scripts and cost";

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Shared(cli::Command),
    /// Train one network by one method, with or without a teacher
    Train(train::Arguments),
    /// Print the accuracy of one network on the test images
    Eval(eval::Arguments),
    /// Compare two networks on the test images: errors, agreement, calibration, size and speed
    Compare(compare::Arguments),
    /// Convert a PyTorch checkpoint and, where CIFAR is at hand, print its accuracy
    Import(import::Arguments),
    /// Write a network so that PyTorch loads it with load_state_dict(strict=True)
    Export(export::Arguments),
}

/// The experiment files and published numbers, for a binary that is run away from the checkout.
const FILES: Files = Files {
    experiments: &[
        ("ablation", include_str!("../../../experiments/reviewkd-cifar/ablation.toml")),
        ("after-review", include_str!("../../../experiments/reviewkd-cifar/after-review.toml")),
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
        ("stored-teacher", include_str!("../../../experiments/reviewkd-cifar/stored-teacher.toml")),
        ("student", include_str!("../../../experiments/reviewkd-cifar/student.toml")),
    ],
    reference: include_str!("../../../results/reviewkd-cifar/reference.csv"),
};

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread.
    unsafe { kd_paper::main(DataChoices::Described(data::HELP), run) }
}

fn run(arguments: &Arguments) -> Result<()> {
    let options = &arguments.options;
    let computes = !matches!(&arguments.command, Some(Command::Shared(c)) if !c.computes());
    let machine = Machine::start(options, computes)?;
    let request = data::Request::read(&options.data, options.data_dir.as_deref())?;
    let stores = arguments
        .store_teacher
        .map(|_| Stores::new(&options.runs_dir, arguments.store_limit))
        .transpose()?;
    let paper = ReviewKd::new(request, machine, stores);
    let given: Vec<NetworkFile> = arguments
        .teachers
        .iter()
        .map(|text| text.parse().map_err(|e| Error::bad_input(format!("--teacher: {e}"))))
        .collect::<Result<_, _>>()?;
    // `train` takes the files itself: no row of a table has to have its teacher.
    let in_tables: &[NetworkFile] =
        if matches!(arguments.command, Some(Command::Train(_))) { &[] } else { &given };
    let adjust = |experiments: &mut Vec<Experiment>| {
        precision::apply(experiments, arguments.conv);
        stored_teacher::apply(experiments, options.preset, arguments.store_teacher)?;
        paper.set_teachers(teachers::replace(experiments, options.preset, in_tables)?);
        Ok(())
    };
    let progress = cli::progress();
    let application =
        Application { paper: &paper, options, files: FILES, adjust: &adjust, progress: &*progress };
    let out = &mut std::io::stdout();
    match &arguments.command {
        None => cli::execute(&cli::Command::default(), &application, out),
        Some(Command::Shared(command)) => cli::execute(command, &application, out),
        Some(Command::Train(train)) => train::run(train, &given, &application, out),
        Some(Command::Eval(eval)) => eval::run(eval, &application, out),
        Some(Command::Compare(compare)) => compare::run(compare, &application, out),
        Some(Command::Import(import)) => import::run(&paper, import, out),
        Some(Command::Export(export)) => export::run(export, &application, out),
    }
}
