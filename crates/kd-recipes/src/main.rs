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
#[command(name = KdRecipes::NAME, version)]
struct Arguments {
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    command: Option<Command>,
}

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
    let machine = Machine::start(options)?;
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
    let named = !tables_of(command).is_empty();
    for &set in sets {
        let mut own = command.clone();
        let tables = tables_in(&mut own);
        // One data set alone takes all names, so that a misspelt one is refused there.
        if sets.len() > 1 {
            tables.retain(|table| Set::of(table) == set);
        }
        if named && tables.is_empty() {
            continue;
        }
        with_application(set, options, machine, |application| {
            cli::execute(&own, application, &mut std::io::stdout())
        })?;
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

fn tables_of(command: &cli::Command) -> &[String] {
    match command {
        cli::Command::Run { tables, .. }
        | cli::Command::List { tables }
        | cli::Command::Table { tables, .. } => tables,
    }
}

fn tables_in(command: &mut cli::Command) -> &mut Vec<String> {
    match command {
        cli::Command::Run { tables, .. }
        | cli::Command::List { tables }
        | cli::Command::Table { tables, .. } => tables,
    }
}
