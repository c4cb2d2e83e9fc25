//! `--teacher FILE`: a network that somebody else trained, in place of the teacher that a
//! table would train.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kd_base::file_hash::sha256;
use kd_core::model::NetworkSpec;
use kd_core::{Error, Result};
use kd_experiment::experiment::Row;
use kd_experiment::{Experiment, Preset};
use toml::{Table, Value};

use crate::network_file::{KnownNetwork, NetworkFile};
use crate::spec::ImportedCell;

/// The files that were given, by the SHA-256 of their content.
pub type Files = BTreeMap<String, PathBuf>;

/// Replaces the rows that train a teacher of one of these networks, at this preset, by rows that
/// import it, and returns the files.
///
/// # Errors
/// When a file cannot be read, and bad input when no row trains such a teacher.
pub fn replace(
    experiments: &mut [Experiment],
    preset: Preset,
    given: &[NetworkFile],
) -> Result<Files> {
    let mut files = Files::new();
    for teacher in given {
        let teacher = teacher.identify()?;
        let cell = cell(&teacher)?;
        let mut found = false;
        for experiment in experiments.iter_mut() {
            let taught: Vec<String> = experiment
                .rows
                .iter()
                .flat_map(|row| &row.needs)
                .map(|(_, need)| need.at(preset).row.clone())
                .collect();
            let teachers = experiment
                .rows
                .iter_mut()
                .filter(|row| taught.contains(&row.name) && trains(row, preset, &cell.network));
            for row in teachers {
                import(row, &cell)?;
                found = true;
            }
        }
        if !found {
            return Err(Error::bad_input(format!(
                "--teacher: no table has a teacher {} at preset {preset}",
                cell.network
            )));
        }
        files.insert(cell.sha256, teacher.file);
    }
    Ok(files)
}

/// The cell that imports this network.
///
/// # Errors
/// When the file cannot be read.
pub fn cell(of: &KnownNetwork) -> Result<ImportedCell> {
    Ok(ImportedCell {
        network: of.spec.name(),
        sha256: sha256(&of.file)?,
        normalisation: of.normalisation,
        validation: None,
    })
}

/// Makes `row` import this network.
///
/// # Errors
/// When the cell cannot be written as TOML, a fault of ours.
pub fn import(row: &mut Row, cell: &ImportedCell) -> Result<()> {
    let spec = Table::try_from(cell).map_err(|e| Error::bad_input(format!("--teacher: {e}")))?;
    row.kind = "imported".to_owned();
    row.needs.clear();
    for preset in [&mut row.spec.quick, &mut row.spec.laptop, &mut row.spec.paper] {
        *preset = spec.clone();
    }
    Ok(())
}

/// Whether the row trains the network of this name.
pub fn trains(row: &Row, preset: Preset, network: &str) -> bool {
    let name = row.spec.at(preset).get("network").and_then(Value::as_str);
    let name = name.and_then(|name| NetworkSpec::from_name(name, 2).ok()).map(|spec| spec.name());
    row.kind == "train" && name.as_deref() == Some(network)
}
