//! The image networks: their descriptions, and what they compute beside PyTorch.

mod described;
#[path = "../formula/mod.rs"]
mod formula;
mod heads;
mod precision;
mod pytorch;
mod training;

use std::collections::BTreeMap;

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

/// Sets every parameter and running statistic to its formula.
fn fill(params: &Params) -> Result<()> {
    let all = params.named().into_iter().chain(params.buffers());
    let values = all.map(|(name, var)| Ok((name.clone(), formula::value(&name, var.dims())?)));
    params.set(&values.collect::<Result<BTreeMap<_, _>>>()?)
}
