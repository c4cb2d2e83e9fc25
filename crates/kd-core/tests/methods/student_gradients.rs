//! A step of methods that change the student beside PyTorch
//! (`scripts/oracles/newer_features.py`): the loss, and the gradients of all of its parameters.

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::method::{MethodSpec, Teaching};
use kd_core::model::{Mode, Model, Outputs};
use serde_json::Value;

use super::{Pair, adapters, formula, step};

/// Three images of noise, as the oracle has them.
const BATCH: usize = 3;

/// Compares the weighted sum of the terms of resnet8 with this head and the teacher resnet8x4, and
/// its gradients; the student's values are formulas, and so is what the teacher says.
pub(super) fn agrees(head: &str, spec: MethodSpec, golden: &Value) -> Result<()> {
    let pair = Pair::new(&format!("resnet8+{head}"), "resnet8x4")?;
    let method = pair.build(&spec)?;
    for (name, var) in pair.params.named().into_iter().chain(pair.params.buffers()) {
        var.set(&formula::value(&name, var.dims())?)?;
    }
    let images = formula::images(BATCH, "images", 0)?;
    let wants = method.wants();
    let Teaching::Live { taps } = &wants.teaching else { panic!("{:?}", wants.teaching) };
    let own: Vec<&str> = wants.student_taps.iter().map(String::as_str).collect();
    let labels = Tensor::new(&[0u32, 1, 2], &Device::Cpu)?;
    let logits: Vec<f32> = formula::noise(BATCH * 10, "teacher.logits", 0)
        .into_iter()
        .map(|u| (3. * u) as f32)
        .collect();
    let teacher = Outputs {
        logits: Tensor::from_vec(logits, (BATCH, 10), &Device::Cpu)?,
        taps: adapters::features(&**pair.teacher.model(), "teacher", taps)?,
    };
    let draws = kd_core::seed::StepSeed { seed: kd_core::Seed(3), epoch: 1, step: 0 };
    let student: Outputs = pair.student.forward(&images, &own, Mode::Train(draws))?;
    let terms = method.terms(&step(&student, &teacher, &labels, &[0, 1, 2]))?;
    let mut loss = Tensor::new(0f32, &Device::Cpu)?;
    for term in &terms {
        loss = (loss + (&term.value * term.weight)?)?;
    }
    let (value, wanted) = (formula::values(&loss)?[0], golden["value"].as_f64().expect("a value"));
    assert!((value - wanted).abs() < 1e-4 * wanted, "{value}, expected {wanted}");
    let sketches = golden["grads"].as_object().expect("gradients");
    let gradients = kd_kernels::backward(&loss)?;
    let mut seen = BTreeSet::new();
    for (name, var) in pair.params.named() {
        if let Some(gradient) = gradients.get(&var) {
            adapters::compare_within(gradient, &name, &sketches[&name], 3e-4)?;
            seen.insert(name);
        }
    }
    assert_eq!(seen, sketches.keys().cloned().collect());
    Ok(())
}
