//! `status`: how far the cells have come, from the store alone.

use std::io::Write;

use kd_base::message;

use super::options::Options;
use super::output::output_error;
use super::slurm;
use crate::duration::duration;
use crate::{Cell, CellState, Plan, Result, Store, pretty};

/// Prints a line for each cell of the plan, in the order in which they run, with what is to be known
/// of it: where it runs, why it failed and where to read on, what it waits for; then how many of
/// each there are, and what Slurm's queue has of this paper's jobs.
///
/// # Errors
/// A folder or file of the store that cannot be read or understood.
pub(super) fn run(
    plan: &Plan,
    store: &Store,
    options: &Options,
    out: &mut dyn Write,
) -> Result<()> {
    let mut rows = vec![["cell", "row", "seed", "state", ""].map(str::to_owned).to_vec()];
    let mut counts = [("done", 0), ("running", 0), ("failed", 0), ("partial", 0), ("waiting", 0)];
    for cell in &plan.cells {
        let (state, more) = standing(cell, plan, store)?;
        if let Some((_, count)) = counts.iter_mut().find(|(name, _)| *name == state) {
            *count += 1;
        }
        let place = cell.short_label();
        let place = place.strip_suffix(&format!(" seed {}", cell.seed)).unwrap_or(&place);
        let fields = [cell.id.as_str(), place, &cell.seed.to_string(), state, &more];
        rows.push(fields.map(str::to_owned).to_vec());
    }
    let counts: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
    let count = message::count(plan.cells.len(), "cell");
    let mut text = pretty::align(&rows);
    text.push_str(&format!("{count}: {}; preset {}\n", counts.join(", "), options.preset));
    let paper = plan.cells.first().map_or("", |cell| &cell.paper);
    for line in slurm::jobs(&options.runs_dir, paper) {
        text.push_str(&format!("{line}\n"));
    }
    out.write_all(text.as_bytes()).map_err(output_error)
}

/// The word for a cell's state, and what else is to be known.
fn standing(cell: &Cell, plan: &Plan, store: &Store) -> Result<(&'static str, String)> {
    let state = store.state(cell)?;
    Ok(match state {
        CellState::Done => {
            let result = store.result(cell)?.unwrap_or_default();
            ("done", format!("{} on {}", duration(result.seconds), result.device))
        }
        CellState::Running => {
            let holder = store.holder(cell)?.map(|(holder, _)| {
                let log = holder.log.as_ref().map(|log| format!("; see {}", log.display()));
                format!("{}{}", holder.since_when(), log.unwrap_or_default())
            });
            ("running", holder.unwrap_or_default())
        }
        CellState::Partial | CellState::Pending => {
            if let Some(failure) = store.failure(cell)? {
                let place = failure.log().cloned().unwrap_or_else(|| store.dir(cell));
                return Ok(("failed", format!("{}; see {}", failure.cause, place.display())));
            }
            if let Some((holder, _)) = store.holder(cell)? {
                let place = holder.log.clone().unwrap_or_else(|| store.dir(cell));
                return Ok(("partial", format!("{} died; see {}", holder.name(), place.display())));
            }
            if state == CellState::Partial {
                return Ok(("partial", "stopped; it goes on from there".to_owned()));
            }
            let mut wanted = Vec::new();
            for other in cell.needs.values().flatten().filter_map(|id| plan.cell(id)) {
                if store.result(other)?.is_none() {
                    wanted.push(other.short_label());
                }
            }
            let what = if wanted.is_empty() { String::new() } else { "for ".to_owned() };
            ("waiting", what + &message::some(&wanted))
        }
    })
}
