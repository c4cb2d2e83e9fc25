//! `decode MODEL`: a part of the data translated, to a file and with its BLEU.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use kd_base::Destination;
use kd_base::message::count;
use kd_experiment::Result;
use kd_experiment::cli::{self, Application};
use kd_translation::evaluate;

use super::model::{Model, SearchArguments};
use crate::cells::translations_file;
use crate::paper::WeightDistillation;

/// The arguments of `decode`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A network's file with its vocabularies beside it, a folder with both, or TABLE/ROW[#SEED]
    /// of a finished cell at this preset
    model: String,
    /// Which part of the data
    #[arg(long, default_value = "test")]
    split: Split,
    /// Where translations go, a sentence a line
    #[arg(long)]
    to: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    search: SearchArguments,
}

/// A part of the data.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Split {
    /// What networks are trained on.
    Train,
    /// For choices.
    Validation,
    /// For results.
    Test,
}

/// Translates the split, writes the translations and prints BLEU and the speed.
///
/// # Errors
/// Bad input when the model cannot be used or the file exists.
pub fn run(
    arguments: &Arguments,
    application: &Application<WeightDistillation>,
    out: &mut dyn Write,
) -> Result<()> {
    let paper = application.paper;
    let to = Destination::new(&arguments.to, arguments.force)?;
    let search = arguments.search.search()?;
    let model = Model::load(&arguments.model, application, &paper.machine().device)?;
    let data = paper.corpus().data()?;
    let part = match arguments.split {
        Split::Train => &data.train,
        Split::Validation => &data.validation,
        Split::Test => &data.test,
    };
    let references = match arguments.split {
        Split::Test => data.test_references(),
        Split::Train | Split::Validation => {
            part.target.iter().map(|line| vec![line.as_str()]).collect()
        }
    };
    let found = evaluate(
        &model.saved.network,
        &model.vocabularies,
        &part.source,
        &references,
        &search,
        &mut |_| (),
    )?;
    to.write(translations_file::joined(&found.lines).as_bytes())?;
    let speed = found.words as f64 / found.seconds.max(1e-9);
    let line = format!(
        "BLEU {:.2}, lower-case {:.2}, {}, {speed:.0} units/s",
        found.bleu,
        found.tokenized_bleu,
        count(found.lines.len(), "sentence")
    );
    cli::say(out, line)
}
