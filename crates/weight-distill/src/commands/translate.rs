//! `translate MODEL`: lines of text become lines of text.

use std::io::Write;
use std::path::PathBuf;

use kd_experiment::cli::Application;
use kd_experiment::{Error, Result};
use kd_translation::transformer::MAX_POSITIONS;
use kd_translation::translate;

use super::model::{Model, SearchArguments};
use super::{read_lines, write_lines};
use crate::paper::WeightDistillation;

/// The arguments of `translate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A network's file with its vocabularies beside it, a folder with both, or TABLE/ROW[#SEED]
    /// of a finished cell at this preset
    model: String,
    /// The text, a sentence a line [default: standard input]
    #[arg(long)]
    input: Option<PathBuf>,
    /// Where translations go [default: standard output]
    #[arg(long)]
    output: Option<PathBuf>,
    /// Replace the output if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    search: SearchArguments,
}

/// Translates each line; an empty line gives an empty line, and how many there were is told on
/// standard error.
///
/// # Errors
/// Bad input when the model or a line cannot be used.
pub fn run(
    arguments: &Arguments,
    application: &Application<WeightDistillation>,
    out: &mut dyn Write,
) -> Result<()> {
    let paper = application.paper;
    if let Some(output) = &arguments.output {
        super::refuse_existing(output, arguments.force)?;
    }
    let search = arguments.search.search()?;
    let model = Model::load(&arguments.model, application, &paper.machine().device)?;
    let lines = read_lines(arguments.input.as_deref())?;
    let name = arguments
        .input
        .as_ref()
        .map_or_else(|| "standard input".to_owned(), |p| p.display().to_string());
    let encoded: Vec<Vec<u32>> =
        lines.iter().map(|line| model.vocabularies.source.encode(line)).collect();
    if let Some(i) = encoded.iter().position(|ids| ids.len() >= MAX_POSITIONS) {
        let (most, got) = (MAX_POSITIONS - 1, encoded[i].len());
        return Err(Error::bad_input(format!(
            "{name}: line {}: expected at most {most} vocabulary units, got {got}",
            i + 1
        )));
    }
    let full: Vec<usize> = (0..lines.len()).filter(|&i| !encoded[i].is_empty()).collect();
    let sources: Vec<Vec<u32>> = full.iter().map(|&i| encoded[i].clone()).collect();
    let found = translate(&model.saved.network, &sources, &search, &mut |_| ())?;
    let mut translations = vec![String::new(); lines.len()];
    for (i, hypothesis) in full.iter().zip(found) {
        translations[*i] = model.vocabularies.target.decode(&hypothesis.words);
    }
    if full.len() < lines.len() {
        eprintln!("{name}: {} empty lines, which stay empty", lines.len() - full.len());
    }
    write_lines(&translations, arguments.output.as_deref(), arguments.force, out)
}
