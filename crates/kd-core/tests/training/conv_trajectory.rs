//! Ten optimiser steps of image networks beside PyTorch's (`scripts/oracles/conv_trajectory.py`):
//! convolutions, normalisations, pooling, the backward pass and the optimiser together, with either
//! precision of convolutions.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::model::{Mode, NetworkSpec};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::train::{Optimizer, OptimizerSpec};
use kd_core::{Result, Seed};
use kd_kernels::conv2d::Precision;
use kd_kernels::cross_entropy::cross_entropy;

use crate::formula;

/// The golden program's values: those of a batch-norm keep the inputs of ReLUs away from 0, and
/// above it before depthwise convolutions.
fn value(name: &str, dims: &[usize], depthwise: bool) -> candle_core::Result<Tensor> {
    let head = ["fc", "linear", "classifier"].iter().any(|h| name.starts_with(h));
    let start: fn(f64) -> f64 = match name.rsplit('.').next().unwrap_or_default() {
        _ if dims.len() > 1 || head => return formula::value(name, dims),
        "weight" => |u| 0.4 + 0.1 * u,
        "bias" if depthwise => |u| u.abs() + 0.5,
        "bias" => |u| u + 0.5 * if u == 0. { 0. } else { u.signum() },
        "running_mean" => |_| 0.,
        _ => |_| 1.,
    };
    let values: Vec<f32> =
        formula::noise(dims[0], name, 0).into_iter().map(|u| start(u) as f32).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// Runs the network's trajectory; losses and gradients may differ from the golden ones by
/// `tolerance`, relative to the loss, and to the gradient's norm.
fn follow(name: &str, precision: Precision, tolerance: f64) -> Result<()> {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../golden/conv_trajectory.json"))
            .expect("the golden file is JSON");
    let golden = &golden["networks"][name];
    let batch = golden["batch"].as_u64().expect("a batch") as usize;
    let lr = golden["learning_rate"].as_f64().expect("a learning rate");

    let (params, vb) = Params::seeded(Seed(0), &Device::Cpu);
    let model = NetworkSpec::from_name(name, 100)?.build_with(precision, vb)?;
    let depthwise = name.contains("mobile") || name.contains("shuffle");
    let all = params.named().into_iter().chain(params.buffers());
    params.set(
        &all.map(|(n, var)| Ok((n.clone(), value(&n, var.dims(), depthwise)?)))
            .collect::<Result<BTreeMap<_, _>>>()?,
    )?;
    let sgd = OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    let mut optimizer = Optimizer::new(&sgd, None, &params)?;

    let losses = formula::numbers(&golden["losses"]);
    for (step, theirs) in losses.into_iter().enumerate().take(steps()) {
        let seed = if step == 0 { golden["seed"].as_u64().expect("a seed") as usize } else { 0 };
        let xs = formula::images(batch, &format!("images.{step}"), seed)?;
        let labels: Vec<u32> = (0..batch).map(|i| ((7 * i + 3 * step) % 100) as u32).collect();
        let draws = StepSeed { seed: Seed(0), epoch: 0, step };
        let logits = model.forward(&xs, &[], Mode::Train(draws))?.logits;
        let loss = cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu)?)?;
        let ours = f64::from(loss.to_scalar::<f32>()?);
        assert!(
            (ours - theirs).abs() <= tolerance * theirs,
            "{name}, {precision:?}, step {step}: loss {ours}, expected {theirs}"
        );
        let gradients = kd_kernels::backward(&loss)?;
        if step == 0 {
            for (parameter, var) in params.named() {
                let ours = formula::values(gradients.get(var.as_tensor()).expect("a gradient"))?;
                let sketch = formula::numbers(&golden["gradients"][&parameter]);
                // A bias before a batch-norm has a gradient of 0; its error counts beside the
                // gradient of the weight that it goes with.
                let beside = if sketch[0] < 1e-9 {
                    formula::numbers(&golden["gradients"][parameter.replace("bias", "weight")])[0]
                } else {
                    sketch[0]
                };
                let products = formula::projections(&ours, &parameter, sketch.len() - 1);
                let squares: f64 =
                    products.iter().zip(&sketch[1..]).map(|(a, b)| (a - b).powi(2)).sum();
                // Noise in [-1, 1) has a mean square of 1/3.
                let gap = (3. * squares / products.len() as f64).sqrt();
                assert!(
                    gap <= tolerance * beside,
                    "{name}, {precision:?}: gradient of {parameter} is off by {gap} of {beside}"
                );
            }
        }
        optimizer.step(&gradients, lr)?;
    }
    Ok(())
}

/// How many steps are followed. The twins take many times as long as the kernels; two steps show
/// their gradients and what the optimiser makes of these.
fn steps() -> usize {
    if kd_kernels::kernels_enabled() { 10 } else { 2 }
}

/// With both precisions of the kernels. The twins have only one.
fn both(name: &str) -> Result<()> {
    follow(name, Precision::Precise, 1e-4)?;
    if kd_kernels::kernels_enabled() { follow(name, Precision::Fast, 1e-3) } else { Ok(()) }
}

#[test]
fn ten_steps_of_resnet20_are_pytorchs() -> Result<()> {
    both("resnet20")
}

#[test]
fn ten_steps_of_a_wide_network_are_pytorchs() -> Result<()> {
    both("wrn-16-2")
}

#[test]
fn ten_steps_of_vgg8_are_pytorchs() -> Result<()> {
    both("vgg8")
}

#[test]
fn ten_steps_of_mobilenet_v2_are_pytorchs() -> Result<()> {
    both("mobilenet-v2")
}

#[test]
fn ten_steps_of_shufflenet_v1_are_pytorchs() -> Result<()> {
    both("shufflenet-v1")
}
