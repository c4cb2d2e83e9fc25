//! Images as a training set: rows of a store of bytes, shifted anew every time they are shown, with a teacher's logits beside.

use candle_core::{Device, Tensor};

use super::LabelledImages;
use crate::Result;
use crate::seed::StepSeed;
use crate::train::{Batch, Examples};

/// The images that a network trains on, with the teacher's logits on them as they are, un-jittered, where it has a teacher.
pub struct ImageExamples<'a> {
    /// All training images.
    pub images: &'a LabelledImages,
    /// Which of them.
    pub rows: Vec<u32>,
    /// Largest shift in each direction, in pixels; what a shift uncovers is 0. The shifts are integers, uniform and independent.
    pub jitter: u8,
    /// A teacher's logits on all training images, row-major `[images.len(), images.classes]`.
    pub teacher_logits: Option<Vec<f32>>,
}

impl Examples for ImageExamples<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, rows: &[u32], step: StepSeed, device: &Device) -> Result<Batch> {
        let rows: Vec<u32> = rows.iter().map(|&r| self.rows[r as usize]).collect();
        let (n, features, classes) = (rows.len(), self.images.pixels(), self.images.classes);
        let mut pixels = vec![0f32; n * features];
        if self.jitter == 0 {
            super::jitter::gather(self.images, &rows, &mut pixels)?;
        } else {
            let stream = step.stream("jitter");
            let radius = i64::from(self.jitter);
            let shift = |i: u64| (stream.below(i, 2 * radius as u64 + 1) as i64 - radius) as i8;
            let shifts: Vec<(i8, i8)> = (0..n as u64).map(|i| (shift(2 * i), shift(2 * i + 1))).collect();
            super::jitter::gather_jittered(self.images, &rows, &shifts, &mut pixels)?;
        }
        let labels: Vec<u32> = rows.iter().map(|&r| u32::from(self.images.labels[r as usize])).collect();
        let logits = self.teacher_logits.as_ref().map(|all| {
            let some: Vec<f32> = rows.iter().flat_map(|&r| &all[r as usize * classes..][..classes]).copied().collect();
            Tensor::from_vec(some, (n, classes), device)
        });
        Ok(Batch {
            inputs: Tensor::from_vec(pixels, (n, features), device)?,
            labels: Tensor::from_vec(labels, n, device)?,
            teacher_logits: logits.transpose()?,
        })
    }
}
