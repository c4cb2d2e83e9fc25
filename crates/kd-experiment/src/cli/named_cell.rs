//! Cells by the names that people give them: `TABLE/ROW` or `TABLE/ROW#SEED`.

use std::path::PathBuf;

use super::application::Application;
use super::experiments;
use crate::result::current_commit;
use crate::{
    Cell, Error, ExpandRequest, OnFailure, Paper, Plan, Result, RunOptions, Seeds, Shard, Store,
    execute, expand,
};

/// The file of a saved network: a file as it is, the one called `file` in a cell's folder, or that
/// of `TABLE/ROW[#SEED]`, the cell of that row at the chosen preset.
///
/// # Errors
/// Bad input when the name means none of these, or the cell is not finished.
pub fn find_network<P: Paper>(
    name: &str,
    file: &str,
    application: &Application<P>,
) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.is_dir() {
        return Ok(path.join(file));
    }
    if path.exists() || name.ends_with(".safetensors") {
        return Ok(path);
    }
    Ok(finished_cell(name, application)?.join(file))
}

/// The folder of the finished cell that `name` means: `TABLE/ROW` or `TABLE/ROW#SEED`, at the
/// chosen preset; without a seed, the first of the preset's.
///
/// Errors: a name of another form, an unknown table or row, several cells that fit (a row with
/// grids), a cell that is not finished.
pub fn finished_cell<P: Paper>(name: &str, application: &Application<P>) -> Result<PathBuf> {
    let paper = application.name();
    let (_, cell) = named_cell(name, application)?;
    let store = Store::new(&application.options.runs_dir, paper);
    match store.finished(&cell)? {
        Some(finished) => Ok(finished.dir),
        None => {
            let what = format!(
                "{name}: the cell {} is not finished; run `{paper} run {} --preset {}` first",
                cell.label(),
                cell.table,
                application.options.preset
            );
            Err(Error::bad_input(what))
        }
    }
}

/// Runs the cell that `name` means, as in [`finished_cell`], after those that it needs, as far as
/// they are not finished, and gives its folder.
///
/// Errors: as [`finished_cell`], and those of the cells.
pub fn run_cell<P: Paper>(name: &str, application: &Application<P>) -> Result<PathBuf> {
    let (mut plan, cell) = named_cell(name, application)?;
    let mut wanted = vec![cell.id.clone()];
    // What a cell needs stands before it in the plan, so one pass from the end finds all.
    for other in plan.cells.iter().rev() {
        if wanted.contains(&other.id) {
            wanted.extend(other.needs.values().flatten().cloned());
        }
    }
    plan.cells.retain(|other| wanted.contains(&other.id));
    let store = Store::new(&application.options.runs_dir, application.name());
    let commit = current_commit();
    let (shard, on_failure) = (Shard::ALL, OnFailure::Stop);
    let options = RunOptions { shard, group: None, commit: &commit, on_failure };
    execute(application.paper, &plan, &store, &options, application.progress)?;
    Ok(store.dir(&cell))
}

/// The plan of the table, and in it the cell.
pub(super) fn named_cell<P: Paper>(
    name: &str,
    application: &Application<P>,
) -> Result<(Plan, Cell)> {
    let wrong = |what: String| Error::bad_input(format!("{name}: {what}"));
    let (place, seed) =
        name.split_once('#').map_or((name, None), |(place, seed)| (place, Some(seed)));
    let seed = seed
        .map(|s| s.parse::<u64>().map_err(|_| wrong(format!("expected a seed after #, got `{s}`"))))
        .transpose()?;
    let Some((table, row)) = place.split_once('/') else {
        return Err(wrong("no such file; expected a network's file or TABLE/ROW[#SEED]".into()));
    };
    let (mut experiments, _) = experiments::load(application)?;
    (application.adjust)(&mut experiments)?;
    let data = application.paper.identity()?;
    let selected = [table.to_owned()];
    let seeds = seed.and_then(|s| Seeds::new(vec![s]).ok());
    let (paper, preset) = (application.name(), application.options.preset);
    let seeds = seeds.as_ref().or(application.options.seeds.as_ref());
    let plan = expand(&ExpandRequest {
        paper,
        experiments: &experiments,
        selected: &selected,
        preset,
        data: &data,
        seeds,
    })?;
    let fits = plan
        .cells
        .iter()
        .filter(|c| c.table == table && c.row == row && seed.is_none_or(|s| s == c.seed));
    let fits: Vec<_> = fits.collect();
    let Some(&first) = fits.first() else {
        return Err(wrong(format!("table `{table}` has no such row at preset {preset}")));
    };
    if let Some(other) = fits.iter().find(|c| c.seed == first.seed && c.keys != first.keys) {
        let (a, b) = (first.short_label(), other.short_label());
        return Err(wrong(format!("several cells fit, {a} and {b}; give the file of one of them")));
    }
    let cell = first.clone();
    Ok((plan, cell))
}
