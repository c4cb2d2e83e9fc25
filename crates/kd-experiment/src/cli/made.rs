//! Cells that no table has: an experiment that a program makes of the paper's rows.

use super::application::Application;
use super::experiments;
use crate::result::current_commit;
use crate::{
    Error, ExpandRequest, Experiment, Finished, OnFailure, Paper, Result, RunOptions, Shard, Store,
    execute, expand,
};

/// Runs the cells of one experiment that `make` makes from those of the paper, as far as they are
/// not finished, and gives them with their results, each after those that it needs. A cell that is
/// the same as a table's is the table's: it has the same name.
///
/// `make` is called before the data is asked for.
///
/// # Errors
/// What `make` refuses, and as `run` of a table.
pub fn run_made<P: Paper>(
    application: &Application<P>,
    make: impl FnOnce(&[Experiment]) -> Result<Experiment>,
) -> Result<Vec<Finished>> {
    let (mut experiments, _) = experiments::load(application)?;
    (application.adjust)(&mut experiments)?;
    let made = make(&experiments)?;
    let selected = [made.name.clone()];
    experiments.retain(|experiment| experiment.name != made.name);
    experiments.push(made);
    let data = application.paper.identity()?;
    if let Some(note) = &data.note {
        application.progress.note(note);
    }
    let (paper, progress) = (application.paper, application.progress);
    let plan = expand(&ExpandRequest {
        paper: application.name(),
        experiments: &experiments,
        selected: &selected,
        preset: application.options.preset,
        data: &data,
        seeds: None,
    })?;
    let store = Store::new(&application.options.runs_dir, application.name());
    let commit = current_commit();
    let (shard, on_failure) = (Shard::ALL, OnFailure::Stop);
    let options = RunOptions { shard, group: None, commit: &commit, on_failure };
    execute(paper, &plan, &store, &options, progress)?;
    let finished = |cell: &crate::Cell| {
        store.finished(cell)?.ok_or_else(|| {
            Error::failure(format!("{}: finished, and its result is gone", cell.label()))
        })
    };
    plan.cells.iter().map(finished).collect()
}
