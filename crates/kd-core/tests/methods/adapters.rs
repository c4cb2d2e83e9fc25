//! Methods with trained adapters beside PyTorch (`scripts/oracles/method_adapters.py`,
//! `scripts/oracles/newer_features.py`): the terms, and the gradients of features and adapters.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor, Var};
use kd_core::Result;
use kd_core::method::{MethodSpec, PREFIX, Teaching, cc, vid};
use kd_core::model::Outputs;
use serde_json::Value;

use super::{Pair, formula, step};

const BATCH: usize = 3;

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/method_adapters.json"))
        .expect("the golden file is JSON")
}

/// Features that are a formula of their name, of the shape that the network declares.
pub(super) fn features(
    network: &dyn kd_core::model::Model,
    who: &str,
    taps: &[String],
) -> Result<Vec<Tensor>> {
    let tap = |name: &String| {
        let tap = network.tap(name)?;
        let dims = if tap.stride == 0 {
            vec![BATCH, tap.channels]
        } else {
            vec![BATCH, tap.channels, tap.side(), tap.side()]
        };
        let values: Vec<f32> = formula::noise(dims.iter().product(), &format!("{who}.{name}"), 0)
            .into_iter()
            .map(|u| u as f32)
            .collect();
        Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
    };
    taps.iter().map(tap).collect()
}

/// Compares a gradient with its norm and projections, relative to the norm.
fn compare(grad: &Tensor, name: &str, sketch: &Value) -> Result<()> {
    compare_within(grad, name, sketch, 1e-5)
}

/// [`compare`] with another tolerance.
pub(super) fn compare_within(
    grad: &Tensor,
    name: &str,
    sketch: &Value,
    tolerance: f64,
) -> Result<()> {
    let (values, sketch) = (formula::values(grad)?, formula::numbers(sketch));
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    // That of a bias in front of a batch-norm is 0, but for what float64 rounds.
    if sketch[0] < 1e-12 {
        assert!(norm < 10. * tolerance, "{name}: norm {norm}, expected 0");
        return Ok(());
    }
    assert!(
        (norm - sketch[0]).abs() < tolerance * sketch[0],
        "{name}: norm {norm}, expected {}",
        sketch[0]
    );
    for (a, b) in formula::projections(&values, name, sketch.len() - 1).iter().zip(&sketch[1..]) {
        assert!(
            (a - b).abs() < tolerance * sketch[0],
            "{name}: projection {a}, expected {b}, of norm {norm}"
        );
    }
    Ok(())
}

/// Compares the sum of the method's terms of these names, each of weight 1, and its gradients.
pub(super) fn agrees(spec: MethodSpec, names: &[&str], expected: &Value) -> Result<()> {
    let pair = Pair::new("resnet8", "resnet8x4")?;
    let method = pair.build(&spec)?;
    let adapters: Vec<(String, Var)> =
        pair.params.named().into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    for (name, var) in &adapters {
        var.set(&formula::value(name, var.dims())?)?;
    }
    for (name, var) in pair.params.buffers() {
        if name.starts_with(PREFIX) {
            var.set(&formula::value(&name, var.dims())?)?;
        }
    }
    let wants = method.wants();
    let Teaching::Live { taps } = &wants.teaching else { panic!("{:?}", wants.teaching) };
    let student: Vec<Var> = features(&*pair.student, "student", &wants.student_taps)?
        .iter()
        .map(Var::from_tensor)
        .collect::<candle_core::Result<_>>()?;
    let logits = || Tensor::zeros((BATCH, 10), DType::F32, &Device::Cpu);
    let student_out = Outputs {
        logits: logits()?,
        taps: student.iter().map(|v| v.as_tensor().clone()).collect(),
    };
    let teacher_out =
        Outputs { logits: logits()?, taps: features(&**pair.teacher.model(), "teacher", taps)? };
    let labels = Tensor::new(&[0u32, 1, 2], &Device::Cpu)?;
    let terms = method.terms(&step(&student_out, &teacher_out, &labels, &[0, 1, 2]))?;
    let found: Vec<(&str, f64)> = terms.iter().map(|term| (term.name, term.weight)).collect();
    assert_eq!(found, names.iter().map(|name| (*name, 1.)).collect::<Vec<_>>());
    let mut sum = terms[0].value.clone();
    for term in &terms[1..] {
        sum = (sum + &term.value)?;
    }
    let (value, wanted) = (formula::values(&sum)?[0], expected["value"].as_f64().expect("a value"));
    assert!((value - wanted).abs() < 1e-5 * wanted, "{value}, expected {wanted}");

    let names = wants.student_taps.iter().map(|name| format!("student.{name}"));
    let variables: BTreeMap<String, Var> = names.zip(student).chain(adapters).collect();
    let sketches = expected["grads"].as_object().expect("gradients");
    assert_eq!(variables.keys().collect::<BTreeSet<_>>(), sketches.keys().collect::<BTreeSet<_>>());
    let candle = sum.backward()?;
    for (name, var) in &variables {
        compare(candle.get(var).expect("a gradient"), name, &sketches[name])?;
    }
    let mut ours = kd_kernels::backward(&sum)?;
    for (name, var) in &variables {
        compare(&ours.remove(var).expect("a gradient"), name, &sketches[name])?;
    }
    Ok(())
}

#[test]
fn vids_term_and_gradients_are_pytorchs() -> Result<()> {
    let spec =
        vid::Spec { weight: 1., variance: 5., least_variance: 1e-5, hard_weight: 0., soft: None };
    agrees(spec.into(), &["information"], &golden()["vid"])
}

#[test]
fn ccs_term_and_gradients_are_pytorchs() -> Result<()> {
    let spec = cc::Spec { weight: 1., width: 128, hard_weight: 0., soft: None };
    agrees(spec.into(), &["correlation"], &golden()["cc"])
}

#[test]
fn every_variance_of_vid_begins_as_the_specification_says() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet8x4")?;
    pair.build(
        &vid::Spec { weight: 1., variance: 5., least_variance: 1e-5, hard_weight: 0., soft: None }
            .into(),
    )?;
    let mut seen = 0;
    for (_, var) in pair.params.named().into_iter().filter(|(name, _)| name.ends_with("log_scale"))
    {
        for a in formula::values(&var)? {
            let variance = a.exp().ln_1p() + 1e-5;
            assert!((variance - 5.).abs() < 1e-5, "{variance}");
            seen += 1;
        }
    }
    assert_eq!(seen, 64 + 128 + 256);
    Ok(())
}
