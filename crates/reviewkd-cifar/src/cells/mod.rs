//! What each kind of cell does.

pub mod imported;
pub mod train;

use std::path::Path;
use std::time::Duration;

use candle_core::Device;
use kd_core::data::{LabelledImages, Normalisation, normalised};
use kd_core::model::Model;
use kd_core::{Result, data::Cifar};

/// Images in one forward pass of an evaluation.
const CHUNK: usize = 250;

/// Where and on what a cell works.
pub struct Place<'a> {
    /// The cell's folder.
    pub dir: &'a Path,
    /// The device.
    pub device: &'a Device,
    /// The data set.
    pub data: &'a Cifar,
    /// Its name and fingerprint.
    pub data_name: &'a str,
    /// Least time between two saves of the state.
    pub save_every: Duration,
}

/// Percent of the images, not augmented, that the network gets right.
fn accuracy(model: &dyn Model, images: &LabelledImages, normalisation: Normalisation, device: &Device) -> Result<f64> {
    Ok(normalised::errors(model, images, normalisation, CHUNK, device)?.accuracy())
}
