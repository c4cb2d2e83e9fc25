//! A limited number of augmentations of each image, so that what a teacher says of them can be
//! stored.

use std::sync::{Arc, Mutex, PoisonError};

use crate::seed::StepSeed;
use crate::{Error, Result, Seed};

/// The augmentations that each image of a run has: epoch `e` shows every image as epoch `e mod
/// count` did, in an order of its own. The epochs below `count` are those of a run without a limit.
pub struct Views {
    count: usize,
    batch_size: usize,
    examples: usize,
    seed: Seed,
    /// The view whose places are known, and the place of each row in its epoch.
    places: Mutex<(usize, Arc<[u32]>)>,
}

impl Views {
    /// `count` views of each of so many examples, which the run shows in batches of `batch_size`.
    ///
    /// # Errors
    /// Bad input when `count` or `batch_size` is 0.
    pub fn new(count: usize, batch_size: usize, examples: usize, seed: Seed) -> Result<Self> {
        Error::unless_within("examples.views", count, 1..=1_000_000)?;
        Error::unless_within("batch size", batch_size, 1..=1_000_000_000)?;
        Ok(Self { count, batch_size, examples, seed, places: Mutex::default() })
    }

    /// For an epoch that shows images as an earlier one did: the step of that epoch, and the
    /// position in its batch, at which each of these rows stood. None in the first epochs.
    pub fn shown_before(&self, step: StepSeed, rows: &[u32]) -> Option<Vec<(StepSeed, usize)>> {
        if step.epoch < self.count {
            return None;
        }
        let epoch = step.epoch % self.count;
        let places = self.places(epoch);
        let of = |row: &u32| {
            let place = places[*row as usize] as usize;
            let step = StepSeed { epoch, step: place / self.batch_size, ..step };
            (step, place % self.batch_size)
        };
        Some(rows.iter().map(of).collect())
    }

    fn places(&self, epoch: usize) -> Arc<[u32]> {
        // The value is whole at any time: it is replaced at once.
        let mut known = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != epoch || known.1.is_empty() {
            let mut places = vec![0; self.examples];
            for (place, row) in (0..).zip(self.seed.order(epoch, self.examples)) {
                places[row as usize] = place;
            }
            *known = (epoch, places.into());
        }
        known.1.clone()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::data::{CropFlip, LabelledImages, Normalisation, NormalisedExamples};
    use crate::train::Examples;

    const IMAGES: usize = 23;
    const BATCH: usize = 5;

    /// What each image looks like in an epoch, by its number.
    fn seen(views: Option<usize>, epoch: usize) -> Result<Vec<Vec<f32>>> {
        let bytes = (0..IMAGES * 3 * 16).map(|i| (i * 7) as u8).collect();
        let grey = LabelledImages::grey(bytes, vec![0; IMAGES], 4, 4, 1);
        let examples = NormalisedExamples {
            images: &LabelledImages { channels: 3, ..grey },
            rows: (0..IMAGES as u32).collect(),
            normalisation: Normalisation::Crd,
            augmentation: CropFlip { padding: 2, flip: true },
            views: views.map(|n| Views::new(n, BATCH, IMAGES, Seed(3))).transpose()?,
        };
        let mut seen = vec![Vec::new(); IMAGES];
        for (step, rows) in Seed(3).order(epoch, IMAGES).chunks(BATCH).enumerate() {
            let draws = StepSeed { seed: Seed(3), epoch, step };
            let batch = examples.batch(rows, draws, &Device::Cpu)?;
            let images = batch.inputs.flatten_from(1)?.to_vec2()?;
            batch.numbers.iter().zip(images).for_each(|(&i, image)| seen[i as usize] = image);
        }
        Ok(seen)
    }

    #[test]
    fn each_epoch_shows_the_images_as_the_one_so_many_before_did() -> Result<()> {
        for epoch in 0..7 {
            assert_eq!(seen(Some(3), epoch)?, seen(None, epoch % 3)?, "epoch {epoch}");
        }
        let differing = |a: usize, b: usize| -> Result<usize> {
            let (a, b) = (seen(Some(3), a)?, seen(Some(3), b)?);
            Ok((0..IMAGES).filter(|&image| a[image] != b[image]).count())
        };
        // 50 views are there: by chance an image has the same one twice.
        assert!(differing(3, 4)? > IMAGES * 3 / 4 && differing(4, 5)? > IMAGES * 3 / 4);
        Ok(())
    }

    #[test]
    fn without_a_view_there_is_nothing_to_show() {
        let error = Views::new(0, BATCH, IMAGES, Seed(1)).err().expect("refused").to_string();
        assert_eq!(error, "examples.views: expected 1 to 1000000, got 0");
    }
}
