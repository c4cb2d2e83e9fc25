//! Grey images with labels, kept as bytes.

use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::DataError;

/// Images of one size, each with a class, in the order of their source.
///
/// Pixels stay bytes: 60,000 MNIST images are 47 MB as bytes and 188 MB as `f32`, and [`super::jitter::gather`] converts a batch
/// while it copies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledImages {
    /// Pixels, `len() × rows × cols`, row-major; 0 is background.
    pub images: Vec<u8>,
    /// One class for each image, each less than `classes`.
    pub labels: Vec<u8>,
    /// Height of an image.
    pub rows: usize,
    /// Width of an image.
    pub cols: usize,
    /// Number of classes.
    pub classes: usize,
}

impl LabelledImages {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image, `rows × cols`.
    pub fn pixels(&self) -> usize {
        self.rows * self.cols
    }

    /// The images and labels at `indices`, in that order; an index may occur more than once.
    ///
    /// # Errors
    /// [`DataError::Index`] where an index is not less than [`Self::len`].
    pub fn subset(&self, indices: &[u32]) -> Result<Self, DataError> {
        self.check(indices)?;
        let d = self.pixels();
        let mut images = Vec::with_capacity(indices.len() * d);
        let mut labels = Vec::with_capacity(indices.len());
        for &i in indices {
            let i = i as usize;
            images.extend_from_slice(&self.images[i * d..(i + 1) * d]);
            labels.push(self.labels[i]);
        }
        Ok(Self { images, labels, rows: self.rows, cols: self.cols, classes: self.classes })
    }

    /// All images as `f32` in `[0, 1]`, pixel / 255, shape `[len, rows × cols]`.
    ///
    /// # Errors
    /// [`DataError::Tensor`] where Candle cannot put it on `device`.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor, DataError> {
        self.range_to_tensor(0..self.len(), device)
    }

    /// [`LabelledImages::to_tensor`] of some images that follow each other.
    ///
    /// # Errors
    /// [`DataError::Index`] where the range ends beyond the images; [`DataError::Tensor`] where Candle cannot put it on `device`.
    pub fn range_to_tensor(&self, range: Range<usize>, device: &Device) -> Result<Tensor, DataError> {
        let d = self.pixels();
        let Some(bytes) = self.images.get(range.start * d..range.end * d) else {
            return Err(DataError::Index { index: range.end, len: self.len() });
        };
        let values: Vec<f32> = bytes.par_iter().with_min_len(64 * 1024).map(|&p| f32::from(p) / 255.0).collect();
        Ok(Tensor::from_vec(values, (range.len(), d), device)?)
    }

    /// All labels as `u32` (what `cross_entropy` takes), shape `[len]`.
    ///
    /// # Errors
    /// [`DataError::Tensor`] where Candle cannot put it on `device`.
    pub fn labels_tensor(&self, device: &Device) -> Result<Tensor, DataError> {
        let values: Vec<u32> = self.labels.iter().map(|&l| u32::from(l)).collect();
        Ok(Tensor::from_vec(values, self.len(), device)?)
    }

    /// How many images each class has, `classes` numbers.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for &l in &self.labels {
            counts[usize::from(l)] += 1;
        }
        counts
    }

    /// Fails unless every index names an image.
    pub(crate) fn check(&self, indices: &[u32]) -> Result<(), DataError> {
        match indices.iter().find(|&&i| i as usize >= self.len()) {
            Some(&i) => Err(DataError::Index { index: i as usize, len: self.len() }),
            None => Ok(()),
        }
    }

    /// Adds the content (number, size, pixels, labels) to a hash.
    pub(crate) fn digest(&self, hash: &mut Sha256) {
        for n in [self.len(), self.rows, self.cols, self.classes] {
            hash.update((n as u64).to_le_bytes());
        }
        hash.update(&self.images);
        hash.update(&self.labels);
    }
}
