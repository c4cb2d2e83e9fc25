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
/// `part` to the labels of the others; its draws are the seed's, so cells of one seed keep the same
/// images apart.
///
/// # Errors
/// Bad input when nothing would be left to draw from.
pub fn select(
    labels: &[u8],
    part: &ExamplesPart,
    validation: Option<&Validation>,
    seed: Seed,
) -> Result<Selection> {
    let limit = if part.limit == 0 { labels.len() } else { part.limit.min(labels.len()) };
    let mut validated = Vec::new();
    let mut known: Vec<u32> = (0..limit as u32).collect();
    if let Some(validation) = validation {
        let split = validation.split(labels)?;
        known = split.train.into_iter().filter(|&row| (row as usize) < limit).collect();
        validated = split.held_out;
    }
    let of = |rows: &[u32]| -> Vec<u8> { rows.iter().map(|&row| labels[row as usize]).collect() };
    let apart = (part.held_out * known.len() as f64).round() as usize;
    let split = split::held_out(&of(&known), apart, seed.0)?;
    let among =
        |places: Vec<u32>| places.into_iter().map(|i| known[i as usize]).collect::<Vec<u32>>();
    let (train, held_out) = (among(split.train), among(split.held_out));
    let share = split::stratified_fraction(&of(&train), part.fraction, seed.0)?;
    let rows = share
        .into_iter()
        .map(|i| train[i as usize])
        .filter(|&row| part.takes(labels[row as usize]));
    Ok(Selection { rows: rows.collect(), held_out, validation: validated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> ExamplesPart {
        let rest = "classes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nepoch-images = 0\njitter = 0";
        toml::from_str(&format!("{text}\n{rest}")).expect("a part")
    }

    #[test]
    fn images_to_validate_on_are_the_same_whatever_the_cell_trains_on() -> Result<()> {
        let labels: Vec<u8> = (0..1000).map(|i| (i % 10) as u8).collect();
        let validation = Validation { share: 0.2, seed: 1 };
        let of = |text: &str, seed| select(&labels, &part(text), Some(&validation), Seed(seed));
        let all = of("limit = 0\nheld-out = 0.0\nfraction = 1.0", 1)?;
        assert_eq!((all.rows.len(), all.held_out.len(), all.validation.len()), (800, 0, 200));
        let some = of("limit = 500\nheld-out = 0.1\nfraction = 0.5", 2)?;
        assert_eq!(some.validation, all.validation);
        assert!(
            some.rows
                .iter()
                .chain(&some.held_out)
                .all(|&row| { row < 500 && !some.validation.contains(&row) })
        );
        assert!(some.rows.iter().all(|row| !some.held_out.contains(row)));
        // Of the first 500 about 400 are left, a tenth is held out, and of the rest half trained on.
        assert!(some.held_out.len().abs_diff(40) < 5 && some.rows.len().abs_diff(180) < 20);
        Ok(())
    }

    #[test]
    fn without_validation_it_is_the_split_of_the_first_images() -> Result<()> {
        let labels: Vec<u8> = (0..300).map(|i| (i % 7) as u8).collect();
        let found = select(
            &labels,
            &part("limit = 200\nheld-out = 0.25\nfraction = 1.0\nomit = 3"),
            None,
            Seed(5),
        )?;
        let split = split::held_out(&labels[..200], 50, 5)?;
        assert_eq!(found.held_out, split.held_out);
        let train: Vec<u32> =
            split.train.into_iter().filter(|&row| labels[row as usize] != 3).collect();
        assert_eq!((found.rows, found.validation), (train, vec![]));
        Ok(())
    }
}
