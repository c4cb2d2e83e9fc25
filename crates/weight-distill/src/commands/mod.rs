//! Commands beside the tables: each works on files, without an experiment.

pub mod decode;
pub mod materialise;
pub mod model;
pub mod score;
pub mod train;
pub mod translate;

use std::fs::{File, OpenOptions};
use std::path::Path;

use kd_experiment::{Error, Result};

/// Writes lines to a file that is not there yet.
///
/// # Errors
/// Bad input when the file exists and `force` is not set, or it cannot be written.
pub fn write_lines(lines: &[String], path: &Path, force: bool) -> Result<()> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    refuse_existing(path, force)?;
    Ok(kd_base::atomic::write(path, text.as_bytes())?)
}

/// Opens a file to be written bit by bit: a new one, or with `force` the one that is there, emptied.
///
/// # Errors
/// Bad input when the file exists and `force` is not set, or it cannot be opened.
pub fn create(path: &Path, force: bool) -> Result<File> {
    refuse_existing(path, force)?;
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    Ok(options.open(path).map_err(|e| kd_core::Error::io(path, e))?)
}

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
