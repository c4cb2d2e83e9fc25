//! Commands beside the tables: each works on files, without an experiment.

pub mod decode;
pub mod materialise;
pub mod model;
pub mod score;
pub mod train;
pub mod translate;

use std::path::Path;

use kd_experiment::{Error, Result};

/// # Errors
/// Bad input when the file exists and `force` is not set.
pub fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    if path.exists() && !force {
        return Err(Error::bad_input(format!(
            "{}: exists already; name another file, or give --force to replace it",
            path.display()
        )));
    }
    Ok(())
}
