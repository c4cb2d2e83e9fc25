//! The image networks: their descriptions, and what they compute beside PyTorch.

mod described;
#[path = "../formula/mod.rs"]
mod formula;
mod pytorch;

use candle_core::Device;
use kd_core::model::{Model, NetworkSpec};
use kd_core::params::Params;
use kd_core::{Result, Seed};

/// The network called `name`, for 100 classes, with its parameters.
fn network(name: &str) -> Result<(Params, Box<dyn Model>)> {
    let (params, vb) = Params::seeded(Seed(7), &Device::Cpu);
    let model = NetworkSpec::from_name(name, 100)?.build(vb)?;
    Ok((params, model))
}
