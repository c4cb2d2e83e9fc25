//! `difference`: BLEU of one finished cell less that of another, seed by seed: what the paper
//! reports as a gain.
//!
//! Metric: `difference`.

use kd_experiment::{CellResult, Error, Needed, Result};

use super::work::BLEU;

/// The name of its metric.
pub const DIFFERENCE: &str = "difference";

/// `needs.of` less `needs.from`.
///
/// # Errors
/// When one of them is missing or has no BLEU.
pub fn run(needed: &Needed) -> Result<CellResult> {
    let bleu = |role: &str| -> Result<f64> {
        let found = needed.one(role)?;
        let missing = || {
            Error::failure(format!(
                "needs.{role}: expected a cell with BLEU, got one of kind {}",
                found.cell.kind
            ))
        };
        Ok(*found.result.metrics.get(BLEU).ok_or_else(missing)?)
    };
    Ok(CellResult::of([DIFFERENCE], [bleu("of")? - bleu("from")?]))
}
