//! `train TABLE/ROW`: one network of a table, with what it needs, and a copy of it in a folder.

use std::io::Write;
use std::path::PathBuf;

use kd_core::frozen::NETWORK;
use kd_experiment::cli::{self, Application};
use kd_experiment::{Error, Result};
use kd_translation::bpe::Vocabularies;

use super::check_folder;
use crate::paper::WeightDistillation;

/// The arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// TABLE/ROW[#SEED], for instance multi30k/teacher: the row's recipe on the text that --data
    /// or --data-dir names
    row: String,
    /// A folder for the network and its vocabularies
    #[arg(long)]
    to: PathBuf,
    /// Replace the network if there is one
    #[arg(long)]
    force: bool,
}

/// Runs the cell and those that it needs, as far as they are not finished, and copies what
/// `translate` takes.
///
/// # Errors
/// Bad input when there is no such row, it trains no network, or there is a network at the target.
pub fn run(
    arguments: &Arguments,
    application: &Application<WeightDistillation>,
    out: &mut dyn Write,
) -> Result<()> {
    let target = arguments.to.join(NETWORK);
    check_folder(&arguments.to, arguments.force)?;
    let dir = cli::run_cell(&arguments.row, application)?;
    let network = dir.join(NETWORK);
    if !network.is_file() {
        return Err(Error::bad_input(format!(
            "{}: expected a row that trains a network, got one that does not",
            arguments.row
        )));
    }
    std::fs::create_dir_all(&arguments.to).map_err(|e| kd_core::Error::io(&arguments.to, e))?;
    let bytes = std::fs::read(&network).map_err(|e| kd_core::Error::io(&network, e))?;
    kd_base::atomic::write(&target, &bytes)?;
    Vocabularies::load(&dir)?.save(&arguments.to)?;
    cli::say(out, target.display())
}
