//! A data set of `candle_datasets` as a training set.

use candle_core::{DType, Device, Tensor};
use candle_datasets::vision::Dataset;

use crate::seed::StepSeed;
use crate::train::{Batch, Examples};
use crate::{Error, Result, Seed};

/// The training images of a data set that `candle_datasets::vision` loads, as they are: a batch is
/// the rows `r` of `train_images`, `[n, …]`, with `train_labels[r]`, `[n]` of any integer type.
/// They are neither normalised nor augmented, an example's number is its row, and there are no
/// stored teacher logits.
impl Examples for Dataset {
    fn len(&self) -> usize {
        self.train_labels.elem_count()
    }

    /// # Errors
    /// Where the images are not as many as the labels, where a label is not below
    /// [`Dataset::labels`], and where a row does not exist.
    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> Result<Batch> {
        let (images, labels) = (self.train_images.dims(), self.len());
        if images.first() != Some(&labels) {
            return Err(Error::bad_input(format!(
                "data set: expected {labels} training images, one for each label, got {images:?}"
            )));
        }
        let index = Tensor::new(rows, self.train_images.device())?;
        let labels = self.train_labels.index_select(&index, 0)?.to_dtype(DType::U32)?;
        if let Some(label) = labels.to_vec1::<u32>()?.iter().find(|&&l| l as usize >= self.labels) {
            return Err(Error::bad_input(format!(
                "data set: expected labels below {}, got {label}",
                self.labels
            )));
        }
        Ok(Batch {
            inputs: self.train_images.index_select(&index, 0)?.to_device(device)?,
            labels: labels.to_device(device)?,
            numbers: rows.to_vec(),
            teacher_logits: None,
        })
    }

    /// # Errors
    /// As [`Examples::batch`].
    fn plain(&self, rows: &[u32], device: &Device) -> Result<Batch> {
        // No step is drawn from: the examples are as they are in any.
        self.batch(rows, StepSeed { seed: Seed(0), epoch: 0, step: 0 }, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: StepSeed = StepSeed { seed: Seed(1), epoch: 0, step: 0 };

    /// Three images of 2×2, numbered through.
    fn dataset(labels: &[u8]) -> Result<Dataset> {
        let images = |n: usize| {
            let values = (0..4 * n).map(|v| v as f32).collect();
            Tensor::from_vec(values, (n, 1, 2, 2), &Device::Cpu)
        };
        Ok(Dataset {
            train_images: images(3)?,
            train_labels: Tensor::new(labels, &Device::Cpu)?,
            test_images: images(1)?,
            test_labels: Tensor::new(&[1u8], &Device::Cpu)?,
            labels: 3,
        })
    }

    #[test]
    fn a_batch_is_the_rows_asked_for_with_their_labels_and_numbers() -> Result<()> {
        let dataset = dataset(&[2, 0, 1])?;
        let batch = dataset.batch(&[2, 0, 2], STEP, &Device::Cpu)?;
        assert_eq!((dataset.len(), batch.inputs.dims()), (3, &[3, 1, 2, 2][..]));
        assert_eq!(
            batch.inputs.flatten_from(1)?.to_vec2::<f32>()?,
            [[8., 9., 10., 11.], [0., 1., 2., 3.], [8., 9., 10., 11.]]
        );
        assert_eq!(batch.labels.to_vec1::<u32>()?, [1, 2, 1]);
        assert_eq!(batch.numbers, [2, 0, 2]);
        assert!(batch.teacher_logits.is_none());
        Ok(())
    }

    #[test]
    fn labels_of_another_number_or_class_and_a_row_that_is_not_there_are_refused() -> Result<()> {
        let message = |labels: &[u8], row: u32| -> Result<String> {
            let batch = dataset(labels)?.batch(&[row], STEP, &Device::Cpu);
            Ok(batch.err().map(|error| error.to_string()).unwrap_or_default())
        };
        assert_eq!(message(&[2, 0, 1], 1)?, "");
        assert_eq!(
            message(&[2, 0], 1)?,
            "data set: expected 2 training images, one for each label, got [3, 1, 2, 2]"
        );
        assert_eq!(message(&[2, 3, 1], 1)?, "data set: expected labels below 3, got 3");
        assert_ne!(message(&[2, 0, 1], 3)?, "");
        Ok(())
    }
}
