//! Which training images a cell trains on.

use kd_core::data::{Validation, split};
use kd_core::{Result, Seed};

use crate::spec::ExamplesPart;

/// Rows of the training set, in ascending order.
pub struct Selection {
    /// To train on.
    pub rows: Vec<u32>,
    /// Kept apart by `examples`.
    pub held_out: Vec<u32>,
    /// Kept apart to be measured on in place of the test images.
    pub validation: Vec<u32>,
}

/// Keeps the images of `validation` apart, which are the same for all cells that have it, and applies
/// `part` to the labels of the others. The draws are the seed's: cells of one seed that keep the
/// same number of images apart keep the same ones apart, and a smaller number of samples is, up to
/// rounding within a class, among a larger one.
///
/// # Errors
/// Bad input when nothing would be left to draw from.
pub fn select(
    labels: &[u8],
    part: &ExamplesPart,
    validation: Option<&Validation>,
    seed: Seed,
) -> Result<Selection> {
    let (known, validation) = match validation {
        Some(validation) => {
            let split = validation.split(labels)?;
            (split.train, split.held_out)
        }
        None => ((0..labels.len() as u32).collect(), Vec::new()),
    };
    let of = |rows: &[u32]| -> Vec<u8> { rows.iter().map(|&row| labels[row as usize]).collect() };
    let split = split::held_out(&of(&known), part.held_out, seed.0)?;
    let among =
        |places: Vec<u32>| -> Vec<u32> { places.into_iter().map(|i| known[i as usize]).collect() };
    let (train, held_out) = (among(split.train), among(split.held_out));
    if part.samples == 0 || part.samples >= train.len() {
        return Ok(Selection { rows: train, held_out, validation });
    }
    // The rows that this keeps apart are a stratified draw of that many.
    let chosen = split::held_out(&of(&train), part.samples, seed.0)?.held_out;
    let rows = chosen.into_iter().map(|i| train[i as usize]).collect();
    Ok(Selection { rows, held_out, validation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(held_out: usize, samples: usize) -> ExamplesPart {
        ExamplesPart { held_out, samples, epoch_images: 0, pool: 1 }
    }

    #[test]
    fn images_to_validate_on_are_neither_trained_on_nor_held_out_whatever_the_seed() -> Result<()> {
        let labels: Vec<u8> = (0..1000).map(|i| (i % 10) as u8).collect();
        let validation = Validation { share: 0.1, seed: 1 };
        let of = |seed| select(&labels, &part(200, 300), Some(&validation), Seed(seed));
        let (one, two) = (of(1)?, of(2)?);
        assert_eq!((one.rows.len(), one.held_out.len(), one.validation.len()), (300, 200, 100));
        assert_eq!(one.validation, two.validation);
        assert!(one.rows.iter().chain(&one.held_out).all(|row| !one.validation.contains(row)));
        assert_ne!(one.rows, two.rows);
        Ok(())
    }

    #[test]
    fn so_many_images_are_chosen_as_are_asked_for_and_none_that_is_kept_apart() -> Result<()> {
        let labels: Vec<u8> = (0..1000).map(|i| (i % 10) as u8).collect();
        let few = select(&labels, &part(200, 30), None, Seed(1))?;
        let more = select(&labels, &part(200, 300), None, Seed(1))?;
        assert_eq!((few.rows.len(), more.rows.len(), more.held_out.len()), (30, 300, 200));
        assert_eq!(few.held_out, more.held_out);
        assert!(few.rows.iter().all(|row| more.rows.contains(row)));
        assert!(more.rows.iter().all(|row| !more.held_out.contains(row)));
        let class = |c: u8| few.rows.iter().filter(|&&r| labels[r as usize] == c).count();
        assert!((0..10).all(|c| class(c) == 3));
        for samples in [0, 800, 5000] {
            assert_eq!(select(&labels, &part(200, samples), None, Seed(1))?.rows.len(), 800);
        }
        assert_ne!(select(&labels, &part(200, 30), None, Seed(2))?.rows, few.rows);
        Ok(())
    }
}
