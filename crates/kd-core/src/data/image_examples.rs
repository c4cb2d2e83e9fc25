//! Images as a training set: rows of a store of bytes, shifted anew every time they are shown, with
//! a teacher's logits beside.

use candle_core::{Device, Tensor};

use super::LabelledImages;
use crate::Result;
use crate::seed::StepSeed;
use crate::train::{Batch, Examples};

/// The images that a network trains on, with the teacher's logits on them as they are, un-jittered,
/// where it has a teacher.
pub struct ImageExamples<'a> {
    /// All training images.
    pub images: &'a LabelledImages,
    /// Which of them.
    pub rows: Vec<u32>,
    /// Largest shift in each direction, in pixels; what a shift uncovers is 0. The shifts are
    /// integers, uniform and independent.
    pub jitter: u8,
    /// A teacher's logits on all training images, row-major `[images.len(), images.classes]`.
    pub teacher_logits: Option<Vec<f32>>,
}

impl Examples for ImageExamples<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, rows: &[u32], step: StepSeed, device: &Device) -> Result<Batch> {
        if self.jitter == 0 {
            return self.plain(rows, device);
        }
        let rows = self.numbers(rows);
        let mut pixels = vec![0f32; rows.len() * self.images.pixels()];
        let stream = step.stream("jitter");
        let radius = i64::from(self.jitter);
        let shift = |i: u64| (stream.below(i, 2 * radius as u64 + 1) as i64 - radius) as i8;
        let shifts: Vec<(i8, i8)> =
            (0..rows.len() as u64).map(|i| (shift(2 * i), shift(2 * i + 1))).collect();
        super::jitter::gather_jittered(self.images, &rows, &shifts, &mut pixels)?;
        self.with_labels(rows, pixels, device)
    }

    fn plain(&self, rows: &[u32], device: &Device) -> Result<Batch> {
        let rows = self.numbers(rows);
        let mut pixels = vec![0f32; rows.len() * self.images.pixels()];
        super::jitter::gather(self.images, &rows, &mut pixels)?;
        self.with_labels(rows, pixels, device)
    }
}

impl ImageExamples<'_> {
    /// The numbers of these examples among all images.
    fn numbers(&self, rows: &[u32]) -> Vec<u32> {
        rows.iter().map(|&r| self.rows[r as usize]).collect()
    }

    /// The batch of these pixels of images `rows`.
    fn with_labels(&self, rows: Vec<u32>, pixels: Vec<f32>, device: &Device) -> Result<Batch> {
        let (n, features, classes) = (rows.len(), self.images.pixels(), self.images.classes);
        let labels: Vec<u32> =
            rows.iter().map(|&r| u32::from(self.images.labels[r as usize])).collect();
        let logits = self.teacher_logits.as_ref().map(|all| {
            let some: Vec<f32> = rows
                .iter()
                .flat_map(|&r| &all[r as usize * classes..][..classes])
                .copied()
                .collect();
            Tensor::from_vec(some, (n, classes), device)
        });
        Ok(Batch {
            inputs: Tensor::from_vec(pixels, (n, features), device)?,
            labels: Tensor::from_vec(labels, n, device)?,
            numbers: rows,
            teacher_logits: logits.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn shifts_cover_the_square_evenly_and_are_a_function_of_the_step() -> Result<()> {
        // One lit pixel in the middle of 5x5: where it lands says what the shift was.
        let n = 25_000;
        let image: Vec<u8> = (0..25).map(|i| if i == 12 { 255 } else { 0 }).collect();
        let images = LabelledImages::grey(image.repeat(n), vec![0; n], 5, 5, 1);
        let examples = ImageExamples {
            images: &images,
            rows: (0..n as u32).collect(),
            jitter: 2,
            teacher_logits: None,
        };
        let rows: Vec<u32> = (0..n as u32).collect();
        let step = |step| StepSeed { seed: Seed(1), epoch: 0, step };
        let batch = |s| -> Result<Vec<Vec<f32>>> {
            Ok(examples.batch(&rows, step(s), &Device::Cpu)?.inputs.to_vec2()?)
        };
        let first = batch(0)?;
        assert_eq!(first, batch(0)?);
        assert_ne!(first, batch(1)?);
        for place in 0..25 {
            // 1000 expected, standard deviation 31.
            let count = first.iter().filter(|image| image[place] == 1.).count();
            assert!(count.abs_diff(1000) < 150, "{place}: {count}");
        }
        Ok(())
    }

    #[test]
    fn a_batch_is_the_rows_asked_for_with_their_labels_and_teacher_logits() -> Result<()> {
        let images = LabelledImages::grey((0..12).collect(), vec![2, 0, 1], 2, 2, 3);
        let teacher_logits = Some((0..9).map(|v| v as f32).collect());
        let examples =
            ImageExamples { images: &images, rows: vec![2, 0], jitter: 0, teacher_logits };
        let batch =
            examples.batch(&[1, 0], StepSeed { seed: Seed(1), epoch: 0, step: 0 }, &Device::Cpu)?;
        assert_eq!(batch.labels.to_vec1::<u32>()?, [2, 1]);
        assert_eq!(
            batch.teacher_logits.map(|t| t.to_vec2::<f32>()).transpose()?,
            Some(vec![vec![0., 1., 2.], vec![6., 7., 8.]])
        );
        assert_eq!(
            batch.inputs.to_vec2::<f32>()?[1],
            [8. / 255., 9. / 255., 10. / 255., 11. / 255.]
        );
        Ok(())
    }
}
