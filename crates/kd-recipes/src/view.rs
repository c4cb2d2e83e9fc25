//! What a network sees of the images: their resolution, and the facts beside them.

use std::borrow::Cow;
use std::sync::OnceLock;

use candle_core::{Device, Tensor};
use kd_core::data::{Facts, LabelledImages, jitter, pooled};
use kd_core::{Error, Result, Seed};

use crate::measurements::measured;
use crate::paper::Images;
use crate::spec::{FactSource, TrainCell};

/// The measurements of all images, made once.
#[derive(Default)]
pub struct Measured(OnceLock<(Facts, Facts)>);

impl Measured {
    fn of(&self, images: &Images) -> Result<(Facts, Facts)> {
        if let Some(known) = self.0.get() {
            return Ok(known.clone());
        }
        let made = (measured(&images.train)?, measured(&images.test)?);
        Ok(self.0.get_or_init(|| made).clone())
    }
}

/// The images of one set as a network sees them.
pub struct Seen<'a> {
    /// At its resolution.
    pub images: Cow<'a, LabelledImages>,
    /// With these facts.
    pub facts: Option<Facts>,
}

/// What a network sees.
pub struct View<'a> {
    /// To train on.
    pub train: Seen<'a>,
    /// To test on.
    pub test: Seen<'a>,
}

impl<'a> View<'a> {
    /// What the network of this cell sees. Facts are standardised by the training images; shuffled
    /// ones are drawn from the seed, for the test images from the same stream.
    ///
    /// # Errors
    /// Bad input when the images cannot be seen so.
    pub fn of(
        cell: &TrainCell,
        images: &'a Images,
        measured: &Measured,
        seed: Seed,
    ) -> Result<Self> {
        let (train, test) = match facts(cell.facts.source, images, measured)? {
            None => (None, None),
            Some((train, test)) => {
                let by = train.standardisation();
                let (train, test) = (train.standardised(&by)?, test.standardised(&by)?);
                if cell.facts.shuffled {
                    (Some(train.shuffled(seed)), Some(test.shuffled(seed)))
                } else {
                    (Some(train), Some(test))
                }
            }
        };
        let seen = |images: &'a LabelledImages, facts| -> Result<Seen<'a>> {
            let images = if cell.examples.pool == 1 {
                Cow::Borrowed(images)
            } else {
                Cow::Owned(pooled(images, cell.examples.pool)?)
            };
            Ok(Seen { images, facts })
        };
        Ok(Self { train: seen(&images.train, train)?, test: seen(&images.test, test)? })
    }
}

/// The facts of the training and of the test images; none where the cell takes none.
fn facts(
    source: FactSource,
    images: &Images,
    measured: &Measured,
) -> Result<Option<(Facts, Facts)>> {
    match source {
        FactSource::None => Ok(None),
        FactSource::Measurements => measured.of(images).map(Some),
        FactSource::Image => Ok(Some((pixels(&images.train)?, pixels(&images.test)?))),
        FactSource::Superclass => Ok(Some((superclass(&images.train)?, superclass(&images.test)?))),
    }
}

fn pixels(images: &LabelledImages) -> Result<Facts> {
    let names = (0..images.pixels()).map(|i| format!("pixel-{i}")).collect();
    let row = |bytes: &[u8]| -> Vec<f32> { bytes.iter().map(|&b| f32::from(b) / 255.).collect() };
    Facts::new(names, images.images.chunks_exact(images.pixels().max(1)).map(row))
}

fn superclass(images: &LabelledImages) -> Result<Facts> {
    match &images.coarse {
        Some(groups) => Facts::one_hot("superclass", &groups.labels, groups.classes),
        None => Err(Error::bad_input(
            "facts: superclass: expected a data set whose classes have groups, got one without",
        )),
    }
}

impl Seen<'_> {
    /// The network's inputs for these images, facts included: `[rows, inputs + facts]`.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn rows(&self, rows: &[u32], device: &Device) -> Result<Tensor> {
        let width = self.images.pixels();
        let mut values = vec![0f32; rows.len() * width];
        jitter::gather(&self.images, rows, &mut values)?;
        let inputs = Tensor::from_vec(values, (rows.len(), width), device)?;
        match &self.facts {
            Some(facts) => Ok(Tensor::cat(&[&inputs, &facts.to_tensor(rows, device)?], 1)?),
            None => Ok(inputs),
        }
    }
}
