//! `materialise GENERATOR`: the ordinary student of a trained generator.

use std::io::Write;
use std::path::{Path, PathBuf};

use kd_base::Destination;
use kd_core::frozen::NETWORK;
use kd_core::train::checkpoint;
use kd_experiment::Result;
use kd_experiment::cli::{self, Application};
use kd_paper::compare::find_network;
use kd_translation::bpe::Vocabularies;

use super::check_folder;
use crate::generator_file;
use crate::paper::WeightDistillation;

/// The arguments of `materialise`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A generator's file, a folder with one, or TABLE/ROW[#SEED] of a finished cell of kind
    /// generate at this preset
    generator: String,
    /// A folder for the network and its vocabularies
    #[arg(long)]
    to: PathBuf,
    /// Replace the network if there is one
    #[arg(long)]
    force: bool,
}

/// Evaluates every formula once and writes an ordinary network, with the vocabularies beside the
/// generator.
///
/// # Errors
/// Bad input when the name means no generator, or there is a network at the target.
pub fn run(
    arguments: &Arguments,
    application: &Application<WeightDistillation>,
    out: &mut dyn Write,
) -> Result<()> {
    let paper = application.paper;
    let target = arguments.to.join(NETWORK);
    let given = PathBuf::from(&arguments.generator);
    let file = if given.is_file() {
        given
    } else {
        // What is found is the folder's network; the generator lies beside it.
        find_network(&arguments.generator, application)?.with_file_name(generator_file::NAME)
    };
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The generator's own folder has the vocabularies already.
    let elsewhere =
        !arguments.to.is_dir() || folder.canonicalize().ok() != arguments.to.canonicalize().ok();
    if elsewhere {
        check_folder(&arguments.to, arguments.force)?;
    } else {
        drop(Destination::new(&target, arguments.force)?);
    }
    let vocabularies = Vocabularies::load(folder)?;
    let (tensors, about) = generator_file::materialise(&file, &paper.machine().device)?;
    std::fs::create_dir_all(&arguments.to).map_err(|e| kd_core::Error::io(&arguments.to, e))?;
    checkpoint::save(&target, &tensors, &about)?;
    if elsewhere {
        vocabularies.save(&arguments.to)?;
    }
    let parameters = about.network.parameters();
    cli::say(out, format!("{}: {parameters} parameters", target.display()))
}
