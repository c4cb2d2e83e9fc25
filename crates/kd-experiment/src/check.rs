//! What can be found wrong with a plan before anything is computed.

use crate::cell::Cell;
use crate::error::Result;
use crate::needs::Needs;
use crate::paper::Paper;
use crate::plan::Plan;
use crate::specs::Specs;

/// Reads the specs of these cells of the plan, each once, and checks what they say and need, and
/// that their results have the numbers that the plan's tables ask for. A cell comes after those
/// that it needs, as in [`Plan::cells`].
///
/// # Errors
/// The first thing that is wrong, with its cell.
pub fn check<'a, P: Paper + ?Sized>(
    paper: &P,
    plan: &Plan,
    cells: impl IntoIterator<Item = &'a Cell>,
) -> Result<Specs<'a, P::Spec>> {
    let mut specs = Specs::default();
    for cell in cells {
        let spec = paper.read(cell).map_err(|error| error.of_cell(&cell.label()))?;
        let needs = Needs::of(&specs, cell)?;
        let checked = paper.check(&spec, &needs).and_then(|()| paper.metrics(&spec, &needs));
        if let Some(metrics) = checked.map_err(|error| error.of_cell(&cell.label()))? {
            plan.tables.iter().try_for_each(|table| table.check_metrics(cell, &metrics))?;
        }
        specs.insert(cell, spec);
    }
    Ok(specs)
}
