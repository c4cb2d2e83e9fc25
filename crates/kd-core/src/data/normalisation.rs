//! Colour images from bytes to the numbers that a network sees.

use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{DataError, LabelledImages};

/// Which mean and deviation of red, green and blue are taken out: `x = (byte/255 − mean) / std`, in
/// `f32`, as torchvision computes it.
///
/// A network has to be shown images under the normalisation it was trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// That of ReviewKD's CIFAR-100 script: mean (125.3, 123.0, 113.9)/255, std (63.0, 62.1,
    /// 66.7)/255. The numbers are near CIFAR-10's.
    Reviewkd,
    /// That of RepDistiller (CRD) and mdistiller: mean (0.5071, 0.4867, 0.4408), std (0.2675,
    /// 0.2565, 0.2761), CIFAR-100's own.
    Crd,
    /// That of the generated shapes: mean and deviation of the 4,000 training images of seed 0.
    Embedded,
}

/// The value of each byte in each channel.
pub type Table = [[f32; 256]; 3];

impl Normalisation {
    /// Its name in experiment files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reviewkd => "reviewkd",
            Self::Crd => "crd",
            Self::Embedded => "embedded",
        }
    }

    /// The mean of red, green and blue, of values in `[0, 1]`.
    pub fn mean(self) -> [f32; 3] {
        match self {
            Self::Reviewkd => [125.3, 123.0, 113.9].map(of_255),
            Self::Crd => [0.5071, 0.4867, 0.4408],
            Self::Embedded => [0.5112, 0.5041, 0.5170],
        }
    }

    /// The deviation of red, green and blue.
    pub fn std(self) -> [f32; 3] {
        match self {
            Self::Reviewkd => [63.0, 62.1, 66.7].map(of_255),
            Self::Crd => [0.2675, 0.2565, 0.2761],
            Self::Embedded => [0.3148, 0.3150, 0.3046],
        }
    }

    /// What each byte becomes: looking it up costs less than computing it, and rounds as the
    /// formula does.
    pub fn table(self) -> Table {
        let (mean, std) = (self.mean(), self.std());
        std::array::from_fn(|c| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean[c]) / std[c])
        })
    }

    /// Some images that follow each other, as they are: `f32` of shape `[range.len(), 3, rows,
    /// cols]`.
    ///
    /// # Errors
    /// [`DataError::Argument`] for images that are not of three channels; [`DataError::Index`]
    /// where the range ends beyond the images; [`DataError::Tensor`] where Candle cannot put it
    /// on `device`.
    pub fn range_to_tensor(
        self,
        images: &LabelledImages,
        range: Range<usize>,
        device: &Device,
    ) -> Result<Tensor, DataError> {
        colour(images)?;
        let d = images.pixels();
        let Some(bytes) = images.images.get(range.start * d..range.end * d) else {
            return Err(DataError::Index { index: range.end, len: images.len() });
        };
        let (table, plane) = (self.table(), (images.rows * images.cols).max(1));
        let mut values = vec![0f32; bytes.len()];
        // A plane at a time, 64 of them to a task at least: below that, handing a task over costs
        // more than it does.
        values
            .par_chunks_mut(plane)
            .zip(bytes.par_chunks(plane))
            .enumerate()
            .with_min_len(64)
            .for_each(|(i, (to, from))| {
                let table = &table[i % 3];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = table[usize::from(from)]);
            });
        Ok(Tensor::from_vec(values, (range.len(), 3, images.rows, images.cols), device)?)
    }
}

/// Rounded to `f32` once, after the division, as PyTorch rounds the quotients that a script writes.
fn of_255(value: f64) -> f32 {
    (value / 255.0) as f32
}

/// Fails unless the images have three channels.
pub(crate) fn colour(images: &LabelledImages) -> Result<(), DataError> {
    match images.channels {
        3 => Ok(()),
        got => Err(DataError::Argument {
            what: "channels of normalised images",
            expected: "3".to_string(),
            got: got.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_what_torchvision_makes_of_them() {
        // Normalize(ToTensor()(x)) of PyTorch 2.15: channel, byte, value in the two conventions.
        let golden = [
            (0, 0, -1.988_888_9_f32, -1.895_700_8_f32),
            (1, 128, 0.080_515_414, 0.059_496_354),
            (2, 255, 2.115_442_3, 2.025_353),
        ];
        for (c, byte, reviewkd, crd) in golden {
            assert_eq!(Normalisation::Reviewkd.table()[c][byte], reviewkd);
            assert_eq!(Normalisation::Crd.table()[c][byte], crd);
        }
    }

    #[test]
    fn a_tensor_holds_each_plane_under_its_own_channel() {
        let bytes: Vec<u8> = (0..2 * 3 * 6).map(|i| (i * 7) as u8).collect();
        let images = LabelledImages {
            channels: 3,
            ..LabelledImages::grey(bytes.clone(), vec![0; 2], 2, 3, 1)
        };
        let tensor = Normalisation::Crd.range_to_tensor(&images, 1..2, &Device::Cpu).unwrap();
        assert_eq!(tensor.dims(), [1, 3, 2, 3]);
        let table = Normalisation::Crd.table();
        let expected: Vec<f32> =
            (0..18).map(|i| table[i / 6][usize::from(bytes[18 + i])]).collect();
        assert_eq!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected);
    }

    #[test]
    fn grey_images_and_ranges_beyond_the_end_are_errors() {
        let grey = LabelledImages::grey(vec![0; 4], vec![0], 2, 2, 1);
        let error = Normalisation::Crd.range_to_tensor(&grey, 0..1, &Device::Cpu).unwrap_err();
        assert_eq!(error.to_string(), "channels of normalised images: expected 3, got 1");
        let colour =
            LabelledImages { channels: 3, ..LabelledImages::grey(vec![0; 12], vec![0], 2, 2, 1) };
        let error = Normalisation::Crd.range_to_tensor(&colour, 0..2, &Device::Cpu).unwrap_err();
        assert_eq!(error.to_string(), "image index: expected less than 1, got 2");
    }

    #[test]
    fn names_in_experiment_files_are_those_of_the_documentation() {
        #[derive(Deserialize)]
        struct File {
            normalisation: Vec<Normalisation>,
        }
        let file: File =
            toml::from_str(r#"normalisation = ["reviewkd", "crd", "embedded"]"#).unwrap();
        assert_eq!(
            file.normalisation,
            [Normalisation::Reviewkd, Normalisation::Crd, Normalisation::Embedded]
        );
    }
}
