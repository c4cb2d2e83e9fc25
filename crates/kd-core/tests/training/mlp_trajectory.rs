//! Ten optimiser steps of a small network beside PyTorch's (`scripts/oracles/mlp_trajectory.py`):
//! model, losses, method, backward pass and optimisers together.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use kd_core::method::soft_targets::{self, SoftTargets};
use kd_core::method::{Distillation, Step};
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::model::{Mode, Model, Outputs};
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Optimizer, OptimizerSpec};

const GOLDEN: &str = include_str!("../golden/mlp_trajectory.json");
const WIDTHS: [usize; 4] = [12, 16, 14, 5];
const BATCH: usize = 8;

fn g(shape: &[usize], scale: f64, a: f64, b: f64) -> Result<Tensor> {
    let n = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..n).map(|i| scale as f32 * (a * i as f64 + b).sin() as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn trajectory(name: &str, optimizer: &OptimizerSpec) -> kd_core::Result<()> {
    let golden: serde_json::Value = serde_json::from_str(GOLDEN).expect("the golden file is JSON");
    let golden = &golden[name];
    let spec = MlpSpec {
        inputs: WIDTHS[0],
        hidden: WIDTHS[1..3].to_vec(),
        classes: WIDTHS[3],
        dropout_input: 0.,
        dropout_hidden: 0.,
        init: WeightInit::HeNormal,
    };
    let (params, vb) = Params::seeded(Seed(0), &Device::Cpu);
    let model = Mlp::new(&spec, vb)?;
    let mut start = BTreeMap::new();
    for i in 0..3 {
        let phase = (i + 1) as f64;
        start.insert(
            format!("layers.{i}.weight"),
            g(&[WIDTHS[i + 1], WIDTHS[i]], 0.4, 0.37, 0.1 * phase)?,
        );
        start.insert(format!("layers.{i}.bias"), g(&[WIDTHS[i + 1]], 0.1, 0.91, 0.2 * phase)?);
    }
    params.set(&start)?;
    let method = SoftTargets::new(soft_targets::Spec {
        temperature: 4.,
        soft_weight: 1.,
        hard_weight: 0.1,
        ..Default::default()
    });
    let mut optimizer = Optimizer::new(optimizer, None, &params)?;
    let lr = if name == "sgd" { 0.05 } else { 0.01 };
    for step in 0..10 {
        let xs = g(&[BATCH, WIDTHS[0]], 1., 0.13, 0.5 * step as f64)?;
        let teacher = Outputs {
            logits: g(&[BATCH, WIDTHS[3]], 4., 1.3, 0.3 * step as f64)?,
            taps: Vec::new(),
        };
        let labels: Vec<u32> = (0..BATCH).map(|i| ((3 * i + step) % WIDTHS[3]) as u32).collect();
        let labels = Tensor::new(labels, &Device::Cpu)?;
        let draws = StepSeed { seed: Seed(0), epoch: 0, step };
        let student = model.forward(&xs, &[], Mode::Train(draws))?;
        let (student, teacher) = (Some(&student), Some(&teacher));
        let terms = method.terms(&Step {
            student,
            teacher,
            second: None,
            labels: &labels,
            numbers: &[],
            epoch: 0,
            draws,
        })?;
        let mut loss = Tensor::new(0f32, &Device::Cpu)?;
        for term in terms {
            loss = (loss + (term.value * term.weight)?)?;
        }
        let (ours, theirs) =
            (f64::from(loss.to_scalar::<f32>()?), golden["losses"][step].as_f64().expect("a loss"));
        assert!(
            (ours - theirs).abs() < 1e-5 * theirs.abs(),
            "{name}, step {step}: {ours} against {theirs}"
        );
        let gradients = kd_kernels::backward(&loss)?;
        if step == 0 {
            for (parameter, var) in params.named() {
                let ours = gradients
                    .get(var.as_tensor())
                    .expect("a gradient")
                    .flatten_all()?
                    .to_vec1::<f32>()?;
                let theirs = golden["gradients"][&parameter].as_array().expect("a gradient");
                let theirs: Vec<f64> =
                    theirs.iter().map(|v| v.as_f64().expect("a number")).collect();
                let gap = ours
                    .iter()
                    .zip(&theirs)
                    .map(|(a, b)| (f64::from(*a) - b).powi(2))
                    .sum::<f64>()
                    .sqrt();
                let norm = theirs.iter().map(|b| b * b).sum::<f64>().sqrt();
                assert!(
                    theirs.len() == ours.len() && gap < 1e-5 * norm,
                    "{name}, {parameter}: {gap} of {norm}"
                );
            }
        }
        optimizer.step(&gradients, lr)?;
    }
    Ok(())
}

#[test]
fn ten_steps_of_sgd_with_nesterov_momentum_and_decay_are_pytorchs() -> kd_core::Result<()> {
    trajectory("sgd", &OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 })
}

#[test]
fn ten_steps_of_adam_are_pytorchs() -> kd_core::Result<()> {
    trajectory(
        "adam",
        &OptimizerSpec::Adam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.,
            decoupled: false,
        },
    )
}
