//! Which training images a cell trains on.

use kd_core::data::split;
use kd_core::{Result, Seed};

use crate::spec::ExamplesPart;

/// Rows of the training set, in ascending order.
pub struct Selection {
    /// To train on.
    pub rows: Vec<u32>,
    /// Kept apart.
    pub held_out: Vec<u32>,
}

/// Applies `part` to the training labels; the draws are the seed's, so cells of one seed keep the
/// same images apart.
///
/// # Errors
/// Bad input when nothing would be left to draw from.
pub fn select(labels: &[u8], part: &ExamplesPart, seed: Seed) -> Result<Selection> {
    let limit = if part.limit == 0 { labels.len() } else { part.limit.min(labels.len()) };
    let first = &labels[..limit];
    let apart = (part.held_out * limit as f64).round() as usize;
    let split = split::held_out(first, apart, seed.0)?;
    let rest: Vec<u8> = split.train.iter().map(|&r| first[r as usize]).collect();
    let share = split::stratified_fraction(&rest, part.fraction, seed.0)?;
    let rows = share
        .into_iter()
        .map(|i| split.train[i as usize])
        .filter(|&r| part.takes(first[r as usize]));
    Ok(Selection { rows: rows.collect(), held_out: split.held_out })
}
