//! The data set: what it is, whatever form it comes in.

use candle_core::{Device, Tensor};
use candle_datasets::vision::Dataset;

use crate::data::DataError;
use crate::data::images::{LabelledImages, content_hash};

/// Height and width of an image.
pub const SIDE: usize = 28;
/// Number of classes: the digits 0 to 9.
pub const CLASSES: usize = 10;

/// A training set and a test set of 28×28 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mnist {
    /// 60,000 images in the original.
    pub train: LabelledImages,
    /// 10,000 images in the original.
    pub test: LabelledImages,
}

impl Mnist {
    /// The content hash of the original 60,000 + 10,000 images and labels in their original order.
    pub const CONTENT: &str = "1939d1154a6c7ee1";

    /// The first 16 hexadecimal digits of a SHA-256 over both sets (number, size, pixels and
    /// labels, training set first): two data sets with the same hash are the same data,
    /// wherever they came from.
    pub fn content_hash(&self) -> String {
        content_hash([&self.train, &self.test])
    }
}

/// The form that `candle_datasets::vision::mnist` returns: images `f32` in `[0, 1]` of shape `[n,
/// 784]`, labels `u8`, on the CPU.
impl TryFrom<&Mnist> for Dataset {
    type Error = DataError;

    fn try_from(mnist: &Mnist) -> Result<Self, DataError> {
        let labels =
            |set: &LabelledImages| Tensor::from_slice(&set.labels, set.len(), &Device::Cpu);
        Ok(Self {
            train_images: mnist.train.to_tensor(&Device::Cpu)?,
            train_labels: labels(&mnist.train)?,
            test_images: mnist.test.to_tensor(&Device::Cpu)?,
            test_labels: labels(&mnist.test)?,
            labels: mnist.train.classes,
        })
    }
}
