//! `ensemble`: finished networks vote. Metrics: `test-errors`, `test-accuracy`, `members`.

use std::path::Path;

use kd_core::Result;
use kd_core::data::Mnist;
use kd_experiment::CellResult;

use super::Logits;
use super::train::errors_of;
use crate::ensemble::combine;
use crate::spec::{CLASSES, EnsembleCell};

/// The names of its metrics.
pub const METRICS: [&str; 3] = ["test-errors", "test-accuracy", "members"];

/// Combines the members' predictions on the test images, at T = 1.
///
/// # Errors
/// Bad input when there is no member.
pub fn run(cell: &EnsembleCell, data: &Mnist, members: &[&Path]) -> Result<CellResult> {
    let logits =
        members.iter().map(|dir| Ok(Logits::read(dir)?.test)).collect::<Result<Vec<_>>>()?;
    let errors = errors_of(&combine(&logits, CLASSES, cell.mean, 1.)?, &data.test.labels)?;
    let accuracy = 100. * (errors.of - errors.total()) as f64 / errors.of.max(1) as f64;
    Ok(CellResult::of(METRICS, [errors.total() as f64, accuracy, members.len() as f64]))
}
