//! Where experiment files and published numbers come from: the folder that is given, the one around
//! the working directory, or the copies that are compiled into the binary.

use std::path::{Path, PathBuf};

use super::application::Application;
use crate::{Error, Experiment, Paper, References, Result, experiment_file};

/// Reads the paper's experiment files and its published numbers.
pub(super) fn load<P: Paper>(
    application: &Application<P>,
) -> Result<(Vec<Experiment>, References)> {
    let paper = application.name();
    let dir = match application.options.experiments.as_deref() {
        Some(dir) => Some(given_dir(dir, paper)?),
        None => around_working_dir(paper),
    };
    let Some(dir) = dir else {
        let parse = |(name, text): &(&str, &str)| {
            experiment_file::parse(&format!("built-in {paper}/{name}.toml"), name, text)
        };
        let experiments =
            application.files.experiments.iter().map(parse).collect::<Result<Vec<_>>>()?;
        return Ok((experiments, built_in_references(application)?));
    };
    let experiments = experiment_file::load_dir(&dir)?;
    // experiments/<paper> and results/<paper>/reference.csv stand side by side in a checkout.
    let beside =
        dir.ancestors().nth(2).map(|root| root.join("results").join(paper).join("reference.csv"));
    let references = match beside.filter(|path| path.is_file()) {
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            References::parse(&path.display().to_string(), &text)?
        }
        None => built_in_references(application)?,
    };
    Ok((experiments, references))
}

fn built_in_references<P: Paper>(application: &Application<P>) -> Result<References> {
    References::built_in(application.name(), application.files.reference)
}

/// `DIR/<paper>` where that exists, else `DIR` itself.
fn given_dir(dir: &Path, paper: &str) -> Result<PathBuf> {
    let inner = dir.join(paper);
    match (inner.is_dir(), dir.is_dir()) {
        (true, _) => Ok(inner),
        (false, true) => Ok(dir.to_path_buf()),
        (false, false) => {
            Err(Error::bad_input(format!("--experiments {}: no such folder", dir.display())))
        }
    }
}

pub(super) fn around_working_dir(paper: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|dir| dir.join("experiments").join(paper)).find(|dir| dir.is_dir())
}
