//! Recipes of knowledge distillation that are no paper's alone: logit regression, fact augmentation
//! and parameter migration, on MNIST and CIFAR-100.
//!
//! `cargo run -p kd-recipes` runs every table of `experiments/kd-recipes` at the `quick` preset.
//! What is special to the recipes is here: the cell ([`cells`]), its specification ([`spec`]), the
//! facts that are known of an image ([`view`]) and the figures ([`figures`]).

mod cells;
mod figures;
mod measurements;
mod paper;
mod set;
mod spec;
mod view;

use std::process::ExitCode;

use candle_core::Device;
use clap::{Parser, Subcommand};
use kd_core::Error;
use kd_experiment::cli::{self, Application, Files};
use kd_experiment::{Experiment, Result};
use kd_paper::Machine;
use kd_paper::compare::compare;

use crate::paper::KdRecipes;
use crate::set::Set;

/// Logit regression, fact augmentation and parameter migration, measured.
///
/// Without a command: runs every table at the quick preset.
#[derive(Parser)]
#[command(name = KdRecipes::NAME, version, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  kd-recipes                                       every table, in minutes
  kd-recipes run logit-regression --preset laptop  one table, within minutes
  kd-recipes list --preset laptop                  what is done, and what the rest costs
  kd-recipes show parameter-migration/truncate     a network's spec, result and curves
  kd-recipes compare logit-regression/teacher logit-regression/logits";

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Shared(cli::Command),
    /// Compare two networks that see MNIST at full resolution on its test images: errors,
    /// agreement, calibration, size and speed
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
        (
            "fact-augmentation",
            include_str!("../../../experiments/kd-recipes/fact-augmentation.toml"),
        ),
        (
            "fact-augmentation-privileged",
            include_str!("../../../experiments/kd-recipes/fact-augmentation-privileged.toml"),
        ),
        (
            "fact-augmentation-superclass",
            include_str!("../../../experiments/kd-recipes/fact-augmentation-superclass.toml"),
        ),
        ("logit-regression", include_str!("../../../experiments/kd-recipes/logit-regression.toml")),
        (
            "parameter-migration",
            include_str!("../../../experiments/kd-recipes/parameter-migration.toml"),
        ),
    ],
    reference: include_str!("../../../results/kd-recipes/reference.csv"),
};

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread.
    unsafe { kd_paper::main(&["auto", "mnist", "cifar100", "embedded"], run) }
}

fn run(arguments: &Arguments) -> Result<()> {
    let options = &arguments.options;
    let computes = !matches!(&arguments.command, Some(Command::Shared(c)) if !c.computes());
    let machine = Machine::start(options, computes)?;
    let sets = Set::named(&options.data, options.data_dir.is_some())?;
    match &arguments.command {
        None => each_set(&cli::Command::default(), &sets, options, &machine),
        Some(Command::Shared(command)) => each_set(command, &sets, options, &machine),
        Some(Command::Compare { teacher, student }) => {
            let Some(&set) = sets.iter().find(|&&set| set == Set::Mnist) else {
                let what = "compare: expected --data auto, mnist or embedded, got cifar100";
                return Err(Error::bad_input(what).into());
            };
            with_application(set, options, &machine, |application| {
                let test = || {
                    let test = &application.paper.images()?.test;
                    Ok((test.to_tensor(&Device::Cpu)?, test.labels.clone()))
                };
                let out = &mut std::io::stdout();
                compare([teacher, student], application, application.paper.machine(), test, out)
            })
        }
    }
}

/// Executes a command for the tables of each data set in turn: cells are named by their data.
fn each_set(
    command: &cli::Command,
    sets: &[Set],
    options: &cli::Options,
    machine: &Machine,
) -> Result<()> {
    let execute = |set: Set, command: &cli::Command| {
        with_application(set, options, machine, |application| {
            cli::execute(command, application, &mut std::io::stdout())
        })
    };
    match command {
        // A cell is of one data set, and a report reads the results of all.
        cli::Command::Show { cell: row } | cli::Command::Sweep(cli::SweepArguments { row, .. }) => {
            return execute(Set::of(row.split('/').next().unwrap_or_default()), command);
        }
        cli::Command::Report { .. } => {
            return execute(sets.first().copied().unwrap_or(Set::Mnist), command);
        }
        _ => {}
    }
    let mut own = command.clone();
    let named = own.tables_mut().map(std::mem::take).unwrap_or_default();
    for &set in sets {
        // One data set alone takes all names, so that a misspelt one is refused there.
        let taken = |table: &&String| sets.len() == 1 || Set::of(table) == set;
        let of_set: Vec<String> = named.iter().filter(taken).cloned().collect();
        if !named.is_empty() && of_set.is_empty() {
            continue;
        }
        if let Some(tables) = own.tables_mut() {
            *tables = of_set;
        }
        execute(set, &own)?;
    }
    Ok(())
}

fn with_application(
    set: Set,
    options: &cli::Options,
    machine: &Machine,
    then: impl FnOnce(&Application<KdRecipes>) -> Result<()>,
) -> Result<()> {
    let paper = KdRecipes::new(set, options, machine.clone())?;
    let adjust = |experiments: &mut Vec<Experiment>| {
        experiments.retain(|experiment| Set::of(&experiment.name) == set);
        Ok(())
    };
    let progress = cli::progress();
    then(&Application {
        paper: &paper,
        options,
        files: FILES,
        adjust: &adjust,
        progress: &*progress,
    })
}
