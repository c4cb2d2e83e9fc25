//! Sums over the stages of a network.

use candle_core::Tensor;

use crate::{Error, Result};

/// Σ_l decay^(L − 1 − l) · distance_l over the stages l = 0, …, L − 1, from the input to the
/// output.
///
/// # Errors
/// Bad input when there is no stage.
pub(super) fn weighted_stages(distances: Vec<Tensor>, decay: f64) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for distance in distances {
        sum = Some(match sum {
            Some(sum) => ((sum * decay)? + distance)?,
            None => distance,
        });
    }
    sum.ok_or_else(|| Error::bad_input("method: expected a stage at least, got none"))
}

/// Checks what a stage counts of what the one behind it does.
///
/// # Errors
/// Bad input that says what it must be and what it is.
pub(super) fn check_stage_decay(decay: f64) -> Result<()> {
    if decay > 0. && decay <= 1. {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "method.stage-decay: expected a number above 0 and at most 1, got {decay}"
    )))
}
