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

/// Applies `part` to the training labels. The draws are the seed's: cells of one seed that keep the
/// same number of images apart keep the same ones apart, and a smaller number of samples is, up to
/// rounding within a class, among a larger one.
///
/// # Errors
/// Bad input when nothing would be left to draw from.
pub fn select(labels: &[u8], part: &ExamplesPart, seed: Seed) -> Result<Selection> {
    let split = split::held_out(labels, part.held_out, seed.0)?;
    if part.samples == 0 || part.samples >= split.train.len() {
        return Ok(Selection { rows: split.train, held_out: split.held_out });
    }
    let rest: Vec<u8> = split.train.iter().map(|&r| labels[r as usize]).collect();
    // The rows that this keeps apart are a stratified draw of that many.
    let chosen = split::held_out(&rest, part.samples, seed.0)?.held_out;
    let rows = chosen.into_iter().map(|i| split.train[i as usize]).collect();
    Ok(Selection { rows, held_out: split.held_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(held_out: usize, samples: usize) -> ExamplesPart {
        ExamplesPart { held_out, samples, epoch_images: 0, pool: 1 }
    }

    #[test]
    fn so_many_images_are_chosen_as_are_asked_for_and_none_that_is_kept_apart() -> Result<()> {
        let labels: Vec<u8> = (0..1000).map(|i| (i % 10) as u8).collect();
        let few = select(&labels, &part(200, 30), Seed(1))?;
        let more = select(&labels, &part(200, 300), Seed(1))?;
        assert_eq!((few.rows.len(), more.rows.len(), more.held_out.len()), (30, 300, 200));
        assert_eq!(few.held_out, more.held_out);
        assert!(few.rows.iter().all(|row| more.rows.contains(row)));
        assert!(more.rows.iter().all(|row| !more.held_out.contains(row)));
        let class = |c: u8| few.rows.iter().filter(|&&r| labels[r as usize] == c).count();
        assert!((0..10).all(|c| class(c) == 3));
        for samples in [0, 800, 5000] {
            assert_eq!(select(&labels, &part(200, samples), Seed(1))?.rows.len(), 800);
        }
        assert_ne!(select(&labels, &part(200, 30), Seed(2))?.rows, few.rows);
        Ok(())
    }
}
