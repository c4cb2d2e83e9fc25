//! `quoted`: a finished cell of another table, so that its numbers stand in this one too.
//!
//! Metrics and series: those of `needs.of`. Where `needs.before` names the cell that it went on
//! from, the curve of that one stands before its own, whose updates go on where that one ended.

use kd_experiment::{CellResult, Needed, Result};

use super::work::CONVERGENCE;

/// # Errors
/// When a needed cell is missing.
pub fn run(needed: &Needed) -> Result<CellResult> {
    let of = &needed.one("of")?.result;
    let mut result = CellResult {
        metrics: of.metrics.clone(),
        series: of.series.clone(),
        epochs: of.epochs,
        ..CellResult::default()
    };
    if let [before] = needed.all("before") {
        let updates = before.result.metrics.get("updates").copied().unwrap_or_default();
        let earlier =
            before.result.series.get(CONVERGENCE).map(|s| s.rows.clone()).unwrap_or_default();
        if let Some(curve) = result.series.get_mut(CONVERGENCE) {
            let own = std::mem::take(&mut curve.rows);
            let shifted = own.into_iter().map(|row| {
                row.into_iter()
                    .enumerate()
                    .map(|(i, v)| if i == 0 { v + updates } else { v })
                    .collect()
            });
            curve.rows = earlier.into_iter().chain(shifted).collect();
        }
    }
    Ok(result)
}
