//! Images with labels, kept as bytes.

use std::ops::Range;

use candle_core::{Device, Tensor};
use image::RgbImage;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::DataError;

/// Images of one size, each with a class, in the order of their source.
///
/// Pixels stay bytes: 60,000 MNIST images are 47 MB as bytes and 188 MB as `f32`, and
/// [`super::jitter::gather`] and [`super::crop_flip::gather`] convert a batch while they copy it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledImages {
    /// Pixels, `len() × channels × rows × cols`: the planes of an image one after the other, each
    /// row-major.
    pub images: Vec<u8>,
    /// One class for each image, each less than `classes`.
    pub labels: Vec<u8>,
    /// The group of classes of each image, where the data set has groups.
    pub coarse: Option<CoarseLabels>,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Height of an image.
    pub rows: usize,
    /// Width of an image.
    pub cols: usize,
    /// Number of classes.
    pub classes: usize,
}

/// Groups of classes, such as the 20 superclasses of CIFAR-100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoarseLabels {
    /// One group for each image, each less than `classes`.
    pub labels: Vec<u8>,
    /// Number of groups.
    pub classes: usize,
}

impl LabelledImages {
    /// Grey images without groups; see the fields for the arguments.
    pub fn grey(
        images: Vec<u8>,
        labels: Vec<u8>,
        rows: usize,
        cols: usize,
        classes: usize,
    ) -> Self {
        Self { images, labels, coarse: None, channels: 1, rows, cols, classes }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image, `channels × rows × cols`.
    pub fn pixels(&self) -> usize {
        self.channels * self.rows * self.cols
    }

    /// The images and labels at `indices`, in that order; an index may occur more than once.
    ///
    /// # Errors
    /// [`DataError::Index`] where an index is not less than [`Self::len`].
    pub fn subset(&self, indices: &[u32]) -> Result<Self, DataError> {
        self.check(indices)?;
        let d = self.pixels();
        let mut images = Vec::with_capacity(indices.len() * d);
        for &i in indices {
            let i = i as usize;
            images.extend_from_slice(&self.images[i * d..(i + 1) * d]);
        }
        let pick = |labels: &[u8]| indices.iter().map(|&i| labels[i as usize]).collect();
        let coarse = self
            .coarse
            .as_ref()
            .map(|c| CoarseLabels { labels: pick(&c.labels), classes: c.classes });
        let Self { channels, rows, cols, classes, .. } = *self;
        Ok(Self { images, labels: pick(&self.labels), coarse, channels, rows, cols, classes })
    }

    /// All images as `f32` in `[0, 1]`, pixel / 255, shape `[len, channels × rows × cols]`.
    ///
    /// # Errors
    /// [`DataError::Tensor`] where Candle cannot put it on `device`.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor, DataError> {
        self.range_to_tensor(0..self.len(), device)
    }

    /// [`LabelledImages::to_tensor`] of some images that follow each other.
    ///
    /// # Errors
    /// [`DataError::Index`] where the range ends beyond the images; [`DataError::Tensor`] where
    /// Candle cannot put it on `device`.
    pub fn range_to_tensor(
        &self,
        range: Range<usize>,
        device: &Device,
    ) -> Result<Tensor, DataError> {
        let d = self.pixels();
        let Some(bytes) = self.images.get(range.start * d..range.end * d) else {
            return Err(DataError::Index { index: range.end, len: self.len() });
        };
        let values: Vec<f32> =
            bytes.par_iter().with_min_len(64 * 1024).map(|&p| f32::from(p) / 255.0).collect();
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

    /// Adds the content (number, size, pixels, labels) to a hash. What grey images without groups
    /// lack adds nothing.
    fn digest(&self, hash: &mut Sha256) {
        for n in [self.len(), self.rows, self.cols, self.classes] {
            hash.update((n as u64).to_le_bytes());
        }
        if self.channels != 1 {
            hash.update((self.channels as u64).to_le_bytes());
        }
        hash.update(&self.images);
        hash.update(&self.labels);
        if let Some(coarse) = &self.coarse {
            hash.update((coarse.classes as u64).to_le_bytes());
            hash.update(&coarse.labels);
        }
    }
}

/// Writes the red, the green and the blue plane of a picture one after the other, each row-major, as
/// [`LabelledImages`] keeps them; `out` has room for the three.
pub(crate) fn planes(image: &RgbImage, out: &mut [u8]) {
    let plane = (out.len() / 3).max(1);
    for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
        out.iter_mut()
            .zip(image.as_raw().chunks_exact(3))
            .for_each(|(out, pixel)| *out = pixel[channel]);
    }
}

/// The first 16 hexadecimal digits of a SHA-256 over sets of images (number, size, pixels and
/// labels of each in turn): equal hashes mean equal data, wherever it came from.
pub(crate) fn content_hash<'a>(sets: impl IntoIterator<Item = &'a LabelledImages>) -> String {
    let mut hash = Sha256::new();
    sets.into_iter().for_each(|set| set.digest(&mut hash));
    kd_base::hex(&hash.finalize()[..8])
}
