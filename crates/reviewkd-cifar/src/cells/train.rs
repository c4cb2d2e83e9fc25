//! `train`: one network on hard targets.
//!
//! Metrics, in percent: `test-accuracy` and `train-accuracy` after the last epoch, over all test images and all training images, not
//! augmented.

use std::path::Path;
use std::time::Duration;

use candle_core::Device;
use kd_core::data::cifar::Cifar;
use kd_core::data::{LabelledImages, NormalisedExamples, normalised};
use kd_core::frozen::NETWORK;
use kd_core::params::Params;
use kd_core::run::CellResult;
use kd_core::train::{Fit, Observer, checkpoint, write_epochs};
use kd_core::{Error, Result, Seed};

use crate::spec::TrainCell;

/// The names of its metrics.
pub const METRICS: [&str; 2] = ["test-accuracy", "train-accuracy"];

/// Images in one forward pass of an evaluation.
const CHUNK: usize = 250;

/// The state of a network that is still training.
const STATE: &str = "state.safetensors";

/// Where and on what a network trains.
pub struct Place<'a> {
    /// The cell's folder.
    pub dir: &'a Path,
    /// The device.
    pub device: &'a Device,
    /// Least time between two saves of the state.
    pub save_every: Duration,
}

/// Trains the network of `cell` and leaves it and `epochs.csv` in the cell's folder.
///
/// # Errors
/// As [`Fit::run`], and when a file cannot be written.
pub fn run(cell: &TrainCell, seed: Seed, data: &Cifar, place: &Place, observer: &mut dyn Observer) -> Result<CellResult> {
    let &Place { dir, device, save_every } = place;
    kd_kernels::conv2d::set_precision(cell.conv.into());
    let method = cell.method.build()?;
    let part = &cell.examples;
    let count = if part.limit == 0 { data.train.len() } else { part.limit.min(data.train.len()) };
    let examples = NormalisedExamples {
        images: &data.train,
        rows: (0..count as u32).collect(),
        normalisation: part.normalisation,
        augmentation: part.augmentation,
    };
    let spec = cell.network(data.train.classes)?;
    let (params, vb) = Params::seeded(seed, device);
    let model = spec.build(vb)?;
    let state = dir.join(STATE);
    let fit = Fit {
        model: &*model,
        params: &params,
        method: &*method,
        examples: &examples,
        spec: &cell.train,
        seed,
        device,
        state: Some(state.clone()),
        save_every,
    };
    let records = fit.run(observer)?;
    write_epochs(&dir.join("epochs.csv"), &records)?;
    checkpoint::save(&dir.join(NETWORK), &params.snapshot()?, &spec)?;
    let accuracy =
        |images: &LabelledImages| Ok::<_, Error>(normalised::errors(&*model, images, part.normalisation, CHUNK, device)?.accuracy());
    let result = CellResult::of(METRICS, [accuracy(&data.test)?, accuracy(&data.train)?]);
    // The network is written: the state, twice its size, has served. A failure here costs disk space only.
    let _ = std::fs::remove_file(state);
    Ok(CellResult { epochs: records.len() as u64, ..result })
}
