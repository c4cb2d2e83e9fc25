//! Colour images as a training set and as a test set: normalised, and augmented anew every time
//! they are shown in training.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::crop_flip::{self, Crop, CropFlip};
use super::{LabelledImages, Normalisation, StrongView, Views};
use crate::Result;
use crate::model::Model;
use crate::seed::StepSeed;
use crate::train::{Batch, Errors, Examples, predict};

/// The images that a network trains on: batches of shape `[b, 3, rows, cols]`.
pub struct NormalisedExamples<'a> {
    /// All training images.
    pub images: &'a LabelledImages,
    /// Which of them.
    pub rows: Vec<u32>,
    /// How their bytes become numbers.
    pub normalisation: Normalisation,
    /// What is done to them at each step.
    pub augmentation: CropFlip,
    /// The augmentations that each image has, where their number is limited.
    pub views: Option<Views>,
}

impl Examples for NormalisedExamples<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, rows: &[u32], step: StepSeed, device: &Device) -> Result<Batch> {
        let augmentation = self.augmentation;
        let crops = match self.views.as_ref().and_then(|views| views.shown_before(step, rows)) {
            None => augmentation.crops(step, rows.len()),
            Some(places) => {
                places.into_iter().map(|(step, at)| augmentation.crop(step, at)).collect()
            }
        };
        self.cut(rows, augmentation.padding, &crops, device)
    }

    fn second_view(
        &self,
        rows: &[u32],
        view: &StrongView,
        step: StepSeed,
        device: &Device,
    ) -> Result<Tensor> {
        // A crop and a flip of its own, as bytes.
        let draws = step.of_second_view();
        let (n, images) = (rows.len(), self.images);
        let numbers: Vec<u32> = rows.iter().map(|&r| self.rows[r as usize]).collect();
        let mut values = vec![0f32; n * images.pixels()];
        let padding = self.augmentation.padding;
        let crops = self.augmentation.crops(draws, n);
        let bytes = [std::array::from_fn(|byte| byte as f32); 3];
        crop_flip::gather(images, &numbers, padding, &crops, &bytes, &mut values)?;
        let (table, size) = (self.normalisation.table(), (images.rows, images.cols));
        let plane = (images.rows * images.cols).max(1);
        let made = values.par_chunks_mut(images.pixels().max(1)).enumerate();
        made.try_for_each(|(position, image)| -> Result<()> {
            let mut bytes: Vec<u8> = image.iter().map(|&v| v as u8).collect();
            view.apply(&mut bytes, size, draws, position)?;
            for (i, (v, byte)) in image.iter_mut().zip(bytes).enumerate() {
                *v = table[i / plane][usize::from(byte)];
            }
            Ok(())
        })?;
        Ok(Tensor::from_vec(values, (n, 3, images.rows, images.cols), device)?)
    }

    fn plain(&self, rows: &[u32], device: &Device) -> Result<Batch> {
        self.cut(rows, 0, &vec![Crop::WHOLE; rows.len()], device)
    }
}

impl NormalisedExamples<'_> {
    /// The batch of these crops, of images with `padding` zeros around them.
    fn cut(&self, rows: &[u32], padding: u8, crops: &[Crop], device: &Device) -> Result<Batch> {
        let rows: Vec<u32> = rows.iter().map(|&r| self.rows[r as usize]).collect();
        let (n, images) = (rows.len(), self.images);
        let mut values = vec![0f32; n * images.pixels()];
        let table = self.normalisation.table();
        crop_flip::gather(images, &rows, padding, crops, &table, &mut values)?;
        let labels: Vec<u32> = rows.iter().map(|&r| u32::from(images.labels[r as usize])).collect();
        Ok(Batch {
            inputs: Tensor::from_vec(values, (n, 3, images.rows, images.cols), device)?,
            labels: Tensor::from_vec(labels, n, device)?,
            numbers: rows,
            teacher_logits: None,
        })
    }
}

/// A network's logits on all images as they are, un-augmented: `[len, classes]` on the CPU. No more
/// than `chunk` of them exist as floats at a time.
///
/// # Errors
/// When the images have not three channels or do not fit the network.
pub fn logits(
    model: &dyn Model,
    images: &LabelledImages,
    normalisation: Normalisation,
    chunk: usize,
    device: &Device,
) -> Result<Tensor> {
    predict(model, images.len(), chunk, |rows| {
        Ok(normalisation.range_to_tensor(images, rows, device)?)
    })
}

/// A network's errors on all images, top 1; [`Errors::accuracy`] is the number that papers print.
///
/// # Errors
/// As [`logits`].
pub fn errors(
    model: &dyn Model,
    images: &LabelledImages,
    normalisation: Normalisation,
    chunk: usize,
    device: &Device,
) -> Result<Errors> {
    Errors::count(&logits(model, images, normalisation, chunk, device)?, &images.labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::model::{About, Mode, Outputs};

    fn images() -> LabelledImages {
        let bytes = (0..4 * 3 * 2 * 3).map(|i| (i * 3) as u8).collect();
        LabelledImages { channels: 3, ..LabelledImages::grey(bytes, vec![2, 0, 1, 2], 2, 3, 3) }
    }

    fn step(step: usize) -> StepSeed {
        StepSeed { seed: Seed(1), epoch: 0, step }
    }

    #[test]
    fn without_augmentation_a_batch_is_the_rows_asked_for() -> Result<()> {
        let images = images();
        let (normalisation, rows) = (Normalisation::Reviewkd, vec![3, 1, 0]);
        let examples = NormalisedExamples {
            images: &images,
            rows,
            normalisation,
            augmentation: CropFlip::NONE,
            views: None,
        };
        let batch = examples.batch(&[2, 0], step(0), &Device::Cpu)?;
        assert_eq!((examples.len(), batch.inputs.dims()), (3, &[2, 3, 2, 3][..]));
        assert_eq!(batch.labels.to_vec1::<u32>()?, [2, 2]);
        let all = normalisation.range_to_tensor(&images, 0..4, &Device::Cpu)?;
        for (b, row) in [0, 3].into_iter().enumerate() {
            let flat = |t: &Tensor, i: usize| -> Result<Vec<f32>> {
                Ok(t.get(i)?.flatten_all()?.to_vec1()?)
            };
            assert_eq!(flat(&batch.inputs, b)?, flat(&all, row)?);
        }
        Ok(())
    }

    #[test]
    fn a_second_view_without_operations_is_another_crop_and_with_them_another_image() -> Result<()>
    {
        let images = images();
        let augmentation = CropFlip { padding: 1, flip: true };
        let rows: Vec<u32> = (0..40).collect();
        let examples = NormalisedExamples {
            images: &images,
            rows: vec![0; 40],
            normalisation: Normalisation::Crd,
            augmentation,
            views: None,
        };
        let second = |operations, cutout, s| -> Result<Vec<f32>> {
            let view = StrongView { operations, cutout };
            let made = examples.second_view(&rows, &view, step(s), &Device::Cpu)?;
            Ok(made.flatten_all()?.to_vec1()?)
        };
        // The draws of a batch of another seed: those of the second view.
        let draws = step(0).of_second_view();
        let cropped = examples.batch(&rows, draws, &Device::Cpu)?.inputs;
        assert_eq!(second(0, 0., 0)?, cropped.flatten_all()?.to_vec1::<f32>()?);
        let first = examples.batch(&rows, step(0), &Device::Cpu)?.inputs;
        assert_ne!(second(0, 0., 0)?, first.flatten_all()?.to_vec1::<f32>()?);
        assert_eq!(second(2, 0.5, 0)?, second(2, 0.5, 0)?);
        for other in [second(2, 0., 0)?, second(0, 0.5, 0)?, second(2, 0.5, 1)?] {
            assert_ne!(other, second(2, 0.5, 0)?);
        }
        Ok(())
    }

    #[test]
    fn plain_examples_are_not_augmented() -> Result<()> {
        let images = images();
        let examples = |augmentation| NormalisedExamples {
            images: &images,
            rows: vec![3, 1, 0],
            normalisation: Normalisation::Crd,
            augmentation,
            views: None,
        };
        let augmented = examples(CropFlip { padding: 1, flip: true });
        let plain = augmented.plain(&[2, 0], &Device::Cpu)?;
        let batch = examples(CropFlip::NONE).batch(&[2, 0], step(0), &Device::Cpu)?;
        let values = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_vec1()?) };
        assert_eq!(values(&plain.inputs)?, values(&batch.inputs)?);
        assert_eq!((plain.labels.to_vec1::<u32>()?, plain.numbers), (vec![2, 2], vec![0, 3]));
        Ok(())
    }

    #[test]
    fn augmentation_is_a_function_of_the_step() -> Result<()> {
        let images = images();
        let augmentation = CropFlip { padding: 1, flip: true };
        let examples = NormalisedExamples {
            images: &images,
            rows: vec![0; 40],
            normalisation: Normalisation::Crd,
            augmentation,
            views: None,
        };
        let rows: Vec<u32> = (0..40).collect();
        let batch = |s| -> Result<Vec<f32>> {
            Ok(examples.batch(&rows, step(s), &Device::Cpu)?.inputs.flatten_all()?.to_vec1()?)
        };
        assert_eq!(batch(0)?, batch(0)?);
        assert_ne!(batch(0)?, batch(1)?);
        Ok(())
    }

    /// Answers with the mean of each channel.
    struct Means(About);

    impl Means {
        fn new() -> Self {
            Self(About { taps: Vec::new(), classes: 3, multiply_adds: 0 })
        }
    }

    impl Model for Means {
        fn forward(&self, xs: &Tensor, _: &[&str], _: Mode) -> Result<Outputs> {
            Ok(Outputs { logits: xs.mean((2, 3))?, taps: Vec::new() })
        }

        fn about(&self) -> &About {
            &self.0
        }
    }

    #[test]
    fn errors_are_counted_over_all_images_whatever_the_chunk() -> Result<()> {
        let mut images = images();
        // One channel of each image is lit: images 0, 1 and 2 as their labels 2, 0 and 1 say, image
        // 3 not.
        images.images.fill(0);
        for (image, channel) in [(0, 2), (1, 0), (2, 1), (3, 0)] {
            images.images[image * 18 + channel * 6..][..6].fill(255);
        }
        for chunk in [1, 3, 100] {
            let errors = errors(&Means::new(), &images, Normalisation::Crd, chunk, &Device::Cpu)?;
            assert_eq!(
                (errors.total(), errors.per_class.as_slice(), errors.accuracy()),
                (1, &[0, 0, 1][..], 75.)
            );
        }
        Ok(())
    }
}
