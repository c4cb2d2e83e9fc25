//! `--omit`: other digits than the paper's 3 for table `omitted-digit`.

use kd_experiment::{Error, Experiment, Result};
use toml::Value;

const TABLE: &str = "omitted-digit";
const COLUMN: &str = "omitted";

/// Sets the digits that the table leaves out; none leaves the experiment file's own.
///
/// # Errors
/// Bad input when the experiment file has no such grid to set.
pub fn apply(experiments: &mut [Experiment], digits: &[u8]) -> Result<()> {
    if digits.is_empty() {
        return Ok(());
    }
    let table = experiments.iter_mut().find(|e| e.name == TABLE);
    let grids = table
        .into_iter()
        .flat_map(|t| &mut t.rows)
        .flat_map(|r| &mut r.grids)
        .filter(|g| g.column == COLUMN);
    let mut found = false;
    for grid in grids {
        let values: Vec<Value> = digits.iter().map(|&d| Value::Integer(d.into())).collect();
        grid.values.quick.clone_from(&values);
        grid.values.laptop.clone_from(&values);
        grid.values.paper = values;
        found = true;
    }
    if !found {
        return Err(Error::bad_input(format!(
            "--omit: expected a grid '{COLUMN}' in table '{TABLE}', got none"
        )));
    }
    Ok(())
}
