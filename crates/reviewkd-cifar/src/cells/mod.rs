//! What each kind of cell does.

pub mod cost;
pub mod imported;
mod selection;
pub mod train;

use candle_core::Device;
use kd_core::Result;
use kd_core::data::{LabelledImages, Normalisation};
use kd_core::model::Model;
use kd_core::train::{Errors, predict};
use kd_paper::TrainingContext;

use crate::data::Images;
use crate::stored_teacher::Stores;

/// Images in one forward pass of an evaluation.
const CHUNK: usize = 250;

/// A cell at work.
pub struct Work<'a> {
    /// Where it works.
    pub context: TrainingContext<'a>,
    /// The data set.
    pub data: &'a Images,
    /// Its name and fingerprint.
    pub data_name: &'a str,
    /// Where teachers' outputs are kept, if they are.
    pub stores: Option<&'a Stores>,
}

/// Percent of the first `count` images, not augmented, that the network gets right.
fn accuracy(
    model: &dyn Model,
    images: &LabelledImages,
    count: usize,
    normalisation: Normalisation,
    device: &Device,
) -> Result<f64> {
    let logits = predict(model, count, CHUNK, |rows| {
        Ok(normalisation.range_to_tensor(images, rows, device)?)
    })?;
    Ok(Errors::count(&logits, &images.labels[..count])?.accuracy())
}
