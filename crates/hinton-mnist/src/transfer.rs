//! The training images of a cell: which they are, and how a step's batch is made of them.

use candle_core::{Device, Tensor};
use kd_core::data::{LabelledImages, jitter, split};
use kd_core::seed::StepSeed;
use kd_core::train::{Batch, Examples};
use kd_core::{Result, Seed};

use crate::spec::{CLASSES, ExamplesPart, PIXELS};

/// Rows of the training set, in ascending order.
pub struct Selection {
    /// To train on.
    pub rows: Vec<u32>,
    /// Kept apart.
    pub held_out: Vec<u32>,
}

/// Applies `part` to the training labels; the draws are the seed's, so cells of one seed keep the same images apart.
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
    let rows = share.into_iter().map(|i| split.train[i as usize]).filter(|&r| part.classes.contains(&first[r as usize]));
    Ok(Selection { rows: rows.collect(), held_out: split.held_out })
}

/// The images that a network trains on, with the teacher's logits on them as they are, un-jittered, where it has a teacher.
pub struct TransferSet<'a> {
    /// All training images.
    pub images: &'a LabelledImages,
    /// Which of them.
    pub rows: Vec<u32>,
    /// Largest shift, in pixels.
    pub jitter: u8,
    /// Logits on all training images, row-major.
    pub teacher: Option<Vec<f32>>,
}

impl Examples for TransferSet<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, rows: &[u32], step: StepSeed, device: &Device) -> Result<Batch> {
        let rows: Vec<u32> = rows.iter().map(|&r| self.rows[r as usize]).collect();
        let n = rows.len();
        let mut pixels = vec![0f32; n * PIXELS];
        if self.jitter == 0 {
            jitter::gather(self.images, &rows, &mut pixels)?;
        } else {
            let stream = step.stream("jitter");
            let radius = u32::from(self.jitter);
            let shift = |i: u64| (stream.below(i, 2 * radius + 1) as i32 - radius as i32) as i8;
            let shifts: Vec<(i8, i8)> = (0..n as u64).map(|i| (shift(2 * i), shift(2 * i + 1))).collect();
            jitter::gather_jittered(self.images, &rows, &shifts, &mut pixels)?;
        }
        let labels: Vec<u32> = rows.iter().map(|&r| u32::from(self.images.labels[r as usize])).collect();
        let logits = self.teacher.as_ref().map(|all| {
            let some: Vec<f32> = rows.iter().flat_map(|&r| &all[r as usize * CLASSES..][..CLASSES]).copied().collect();
            Tensor::from_vec(some, (n, CLASSES), device)
        });
        Ok(Batch {
            inputs: Tensor::from_vec(pixels, (n, PIXELS), device)?,
            labels: Tensor::from_vec(labels, n, device)?,
            teacher_logits: logits.transpose()?,
        })
    }
}
