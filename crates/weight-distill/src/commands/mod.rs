//! Commands beside the tables: each works on files, without an experiment.

pub mod decode;
pub mod materialise;
pub mod model;
pub mod score;
pub mod train;
pub mod translate;

use std::path::Path;

use kd_base::{DestinationError, atomic};
use kd_core::frozen::NETWORK;
use kd_experiment::Result;
use kd_translation::bpe::Vocabularies;

/// Fails where a network and its vocabularies could not be written to the folder `dir`: files of
/// these names are there and `force` is not set, or the folder cannot be written in.
///
/// # Errors
/// Bad input that names the file or the folder.
pub fn check_folder(dir: &Path, force: bool) -> Result<()> {
    for name in [NETWORK].into_iter().chain(Vocabularies::FILES) {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok() && !force {
            return Err(DestinationError::Exists { path }.into());
        }
    }
    Ok(atomic::check_dir(dir)?)
}
