//! Lin, Li, Wang, Li, Du, Xiao and Zhu 2021, "Weight Distillation: Transferring the Knowledge in
//! Neural Network Parameters", for translation with Transformers.
//!
//! `cargo run -p weight-distill` runs every table of `experiments/weight-distill` at the `quick`
//! preset. The cells are in [`cells`], their specifications in [`spec`], and the commands that work
//! on files in [`commands`]. The generator itself is `kd_translation::generated_student`.

mod cells;
mod commands;
mod figures;
mod generator_file;
mod paper;
mod spec;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kd_experiment::Result;
use kd_experiment::cli::{self, Application, Files};
use kd_paper::Machine;
use kd_translation::bitext::{self, Languages};

use crate::paper::WeightDistillation;

/// Reproduces "Weight Distillation" for Transformer translation.
///
/// Without a command: runs every table at the quick preset.
#[derive(Parser)]
#[command(name = WeightDistillation::NAME, version, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    options: cli::Options,
    /// From which language to which, as codes that the files end in [default: the corpus's own;
    /// en-de for a folder]
    #[arg(long, global = true, value_name = "FROM-TO")]
    languages: Option<Languages>,
    /// Read only so many training pairs, evenly spaced over the corpus [default: all]
    #[arg(long, global = true, value_name = "N")]
    train_pairs: Option<usize>,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  weight-distill                                     every table, in minutes
  weight-distill train multi30k/teacher --to model   a translator
  echo 'a dog runs' | weight-distill translate model
  weight-distill show multi30k/teacher               its spec, result and curves";

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Shared(cli::Command),
    /// Train one network of a table, and copy it with its vocabularies to a folder
    Train(commands::train::Arguments),
    /// Translate lines of text with a saved network
    Translate(commands::translate::Arguments),
    /// Translate a part of the data to a file, and print its BLEU
    Decode(commands::decode::Arguments),
    /// Compute BLEU of a file of translations
    Score(commands::score::Arguments),
    /// Turn a trained generator into an ordinary network
    Materialise(commands::materialise::Arguments),
}

/// The experiment files and published numbers, for a binary that is run away from the checkout.
const FILES: Files = Files {
    experiments: &[
        ("convergence", include_str!("../../../experiments/weight-distill/convergence.toml")),
        ("en-de-base", include_str!("../../../experiments/weight-distill/en-de-base.toml")),
        ("en-de-big", include_str!("../../../experiments/weight-distill/en-de-big.toml")),
        ("en-de-deep", include_str!("../../../experiments/weight-distill/en-de-deep.toml")),
        ("en-ro", include_str!("../../../experiments/weight-distill/en-ro.toml")),
        ("initialisation", include_str!("../../../experiments/weight-distill/initialisation.toml")),
        ("multi30k", include_str!("../../../experiments/weight-distill/multi30k.toml")),
        ("sensitivity", include_str!("../../../experiments/weight-distill/sensitivity.toml")),
        (
            "transferred-weights",
            include_str!("../../../experiments/weight-distill/transferred-weights.toml"),
        ),
        ("zh-en", include_str!("../../../experiments/weight-distill/zh-en.toml")),
    ],
    reference: include_str!("../../../results/weight-distill/reference.csv"),
};

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread.
    unsafe {
        kd_paper::main(
            &["auto", "multi30k", "wmt16-ro-en", "wmt14-de-en", "directory", "embedded"],
            run,
        )
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let options = &arguments.options;
    let computes = !matches!(&arguments.command, Some(Command::Shared(c)) if !c.computes());
    let machine = Machine::start(options, computes)?;
    let mut request = bitext::BitextRequest::new(options.data.parse()?, options.data_dir.clone());
    request.languages = arguments.languages.clone();
    request.train_limit = arguments.train_pairs;
    let paper = WeightDistillation::new(request, machine);
    let progress = cli::progress();
    let application = Application {
        paper: &paper,
        options,
        files: FILES,
        adjust: &|_| Ok(()),
        progress: &*progress,
    };
    let out = &mut std::io::stdout();
    match &arguments.command {
        None => cli::execute(&cli::Command::default(), &application, out),
        Some(Command::Shared(command)) => cli::execute(command, &application, out),
        Some(Command::Train(train)) => commands::train::run(train, &application, out),
        Some(Command::Translate(translate)) => {
            commands::translate::run(translate, &application, out)
        }
        Some(Command::Decode(decode)) => commands::decode::run(decode, &application, out),
        Some(Command::Score(score)) => commands::score::run(score, out),
        Some(Command::Materialise(materialise)) => {
            commands::materialise::run(materialise, &application, out)
        }
    }
}
