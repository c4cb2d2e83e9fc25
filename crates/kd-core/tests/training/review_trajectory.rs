//! Ten whole training steps of resnet56 -> resnet20 by knowledge review beside PyTorch's
//! (`scripts/oracles/review_trajectory.py`): both networks, adapters, losses, the backward pass and
//! the optimiser together, in either mode of the teacher's batch-norms.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::frozen::Frozen;
use kd_core::method::{Context, MethodSpec, Recipe, Step, Teaching};
use kd_core::model::{Mode, Model, NetworkSpec};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::train::{Optimizer, OptimizerSpec};
use kd_core::{Result, Seed};

use crate::formula;

/// The golden program's values: weights of batch-norms lie about `scale`, their biases away from 0.
fn value(name: &str, dims: &[usize], scale: f64) -> candle_core::Result<Tensor> {
    if dims.len() > 1 {
        return formula::value(name, dims);
    }
    let draw = |u: f64| match name.rsplit('.').next().unwrap_or_default() {
        _ if name.starts_with("fc") || name.starts_with("teacher.fc") => 0.2 * u,
        "weight" => scale + 0.1 * u,
        "bias" => u + 0.5 * if u == 0. { 0. } else { u.signum() },
        "running_mean" => 0.,
        _ => 1.,
    };
    let values: Vec<f32> =
        formula::noise(dims[0], name, 0).into_iter().map(|u| draw(u) as f32).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

fn values(params: &Params, prefix: &str, scale: f64) -> Result<BTreeMap<String, Tensor>> {
    let all = params.named().into_iter().chain(params.buffers());
    all.map(|(name, var)| Ok((name.clone(), value(&format!("{prefix}{name}"), var.dims(), scale)?)))
        .collect()
}

/// The images and labels of a step.
fn batch(size: usize, step: usize, seed: usize) -> Result<(Tensor, Tensor)> {
    let noise = |dims: &[usize], what: &str, scale: f64| {
        let values = formula::noise(dims.iter().product(), &format!("{what}.{step}"), seed)
            .into_iter()
            .map(|u| (scale * u) as f32);
        Tensor::from_vec(values.collect::<Vec<f32>>(), dims, &Device::Cpu)
    };
    let images = noise(&[size, 3, 32, 32], "images", 1.)?.broadcast_add(&noise(
        &[size, 3, 1, 1],
        "tints",
        3.,
    )?)?;
    let labels: Vec<u32> = (0..size).map(|i| ((7 * i + 3 * step) % 100) as u32).collect();
    Ok((images, Tensor::new(labels, &Device::Cpu)?))
}

fn names(taps: &[String]) -> Vec<&str> {
    taps.iter().map(String::as_str).collect()
}

fn close(ours: f64, theirs: f64, tolerance: f64, what: &str) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs(), "{what}: {ours}, expected {theirs}");
}

fn follow(mode: &str) -> Result<()> {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../golden/review_trajectory.json"))
            .expect("the golden file is JSON");
    let number = |name: &str| golden[name].as_f64().expect("a number");
    let (size, lr, weight, first) = (
        number("batch") as usize,
        number("learning_rate"),
        number("weight"),
        number("seed") as usize,
    );
    let golden = &golden["teacher_batch_norm"][mode];

    let device = &Device::Cpu;
    let (teacher_params, vb) = Params::seeded(Seed(0), device);
    let network = |name: &str| NetworkSpec::from_name(name, 100);
    network("resnet56")?.build(vb)?;
    let frozen = Frozen::build(values(&teacher_params, "teacher.", 0.4)?, device, |vb| {
        network("resnet56")?.build(vb)
    })?;
    let teacher = if mode == "batch" { frozen.with_batch_statistics() } else { frozen };
    let (params, vb) = Params::seeded(Seed(0), device);
    let student = network("resnet20")?.build(vb.clone())?;
    let spec = format!(
        r#"{{"kind": "review", "weight": {weight}, "warm-up-epochs": 20, "hard-weight": 1.0, "structure": "residual", "fusion": "attention",
        "distance": "hierarchical", "channels": 512, "student-taps": "after", "teacher-taps": "before"}}"#
    );
    let spec: MethodSpec = serde_json::from_str(&spec).expect("a method");
    let method = spec.build(&Context::new(&*student, Some(&teacher), &[], &params, &vb))?;
    params.set(&values(&params, "", 0.5)?)?;
    let sgd = OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    let mut optimizer = Optimizer::new(&sgd, None, &params)?;
    let wants = method.wants();
    let Teaching::Live { taps } = &wants.teaching else {
        panic!("review takes the teacher's maps")
    };
    let (student_taps, teacher_taps) = (names(&wants.student_taps), names(taps));

    // The twins take many times as long as the kernels; two steps show their gradients and what the
    // optimiser makes of these.
    let followed = if kd_kernels::kernels_enabled() { 10 } else { 2 };
    let steps = golden["steps"].as_array().expect("steps");
    for (step, theirs) in steps.iter().enumerate().take(followed) {
        let (xs, labels) = batch(size, step, if step == 0 { first } else { 0 })?;
        // Past the warm-up.
        let draws = StepSeed { seed: Seed(0), epoch: 20, step };
        let outputs = student.forward(&xs, &student_taps, Mode::Train(draws))?;
        let taught = teacher.forward(&xs, &teacher_taps)?;
        let (outputs, taught) = (Some(&outputs), Some(&taught));
        let terms = method.terms(&Step {
            student: outputs,
            teacher: taught,
            second: None,
            labels: &labels,
            numbers: &[],
            epoch: 20,
            draws,
        })?;
        let mut loss = Tensor::new(0f32, device)?;
        for term in &terms {
            let name = if term.name == "hard" { "cross_entropy" } else { term.name };
            let expected = theirs[name].as_f64().expect("a term");
            close(
                f64::from(term.value.to_scalar::<f32>()?),
                expected,
                1e-4,
                &format!("{mode}, step {step}, {name}"),
            );
            loss = (loss + (&term.value * term.weight)?)?;
        }
        close(
            f64::from(loss.to_scalar::<f32>()?),
            theirs["loss"].as_f64().expect("a loss"),
            1e-4,
            &format!("{mode}, step {step}, loss"),
        );
        let gradients = kd_kernels::backward(&loss)?;
        if step == 0 {
            let golden = golden["gradients"].as_object().expect("gradients");
            assert_eq!(params.named().len(), golden.len());
            for (name, var) in params.named() {
                let ours = formula::values(
                    gradients
                        .get(var.as_tensor())
                        .unwrap_or_else(|| panic!("{name} has no gradient")),
                )?;
                let sketch = formula::numbers(&golden[&name]["sketch"]);
                let products = formula::projections(&ours, &name, sketch.len() - 1);
                let squares: f64 =
                    products.iter().zip(&sketch[1..]).map(|(a, b)| (a - b).powi(2)).sum();
                // Noise in [-1, 1) has a mean square of 1/3.
                let gap = (3. * squares / products.len() as f64).sqrt();
                // Stock ops add long rows one number after another, in float32.
                let tolerance = if kd_kernels::kernels_enabled() { 1e-4 } else { 1e-3 };
                assert!(
                    gap <= tolerance * sketch[0],
                    "{mode}: gradient of {name} is off by {gap} of {}",
                    sketch[0]
                );
            }
        }
        optimizer.step(&gradients, lr)?;
    }
    if followed < steps.len() {
        return Ok(());
    }
    let (xs, _) = batch(size, 10, 0)?;
    let draws = StepSeed { seed: Seed(0), epoch: 20, step: 10 };
    for (mode_of, part) in [(Mode::Train(draws), "train"), (Mode::Evaluate, "evaluate")] {
        let ours = formula::values(&student.forward(&xs, &[], mode_of)?.logits.narrow(0, 0, 4)?)?;
        let theirs = formula::numbers(&golden["logits"][part]);
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
        let gap = norm(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b))
            / norm(&mut theirs.iter().copied());
        assert!(gap < 2e-3, "{mode}: logits in mode {part} after ten steps are off by {gap}");
    }
    Ok(())
}

#[test]
fn ten_steps_with_a_teacher_of_batch_statistics_are_pytorchs() -> Result<()> {
    follow("batch")
}

#[test]
fn ten_steps_with_a_teacher_of_running_statistics_are_pytorchs() -> Result<()> {
    follow("running")
}

/// A pair of networks, the parameters of its adapters (facts of the official program), and the
/// sides of its levels.
#[test]
fn adapters_of_all_pairs_of_the_paper_have_their_shapes_and_parameters() -> Result<()> {
    let pairs = [
        ("resnet56", "resnet20", 114_278),
        ("resnet110", "resnet32", 114_278),
        ("resnet32x4", "resnet8x4", 1_808_774),
        ("wrn-40-2", "wrn-16-2", 453_830),
        ("wrn-40-2", "wrn-40-1", 216_006),
        ("vgg13", "vgg8", 9_847_560),
        ("resnet32x4", "shufflenet-v1", 4_607_366),
        ("wrn-40-2", "shufflenet-v1", 2_984_646),
        ("resnet32x4", "shufflenet-v2", 4_195_718),
        ("vgg13", "mobilenet-v2", 9_640_712),
        ("resnet50", "mobilenet-v2", 27_933_192),
        ("resnet50", "vgg8", 28_140_040),
    ];
    let spec = r#"{"kind": "review", "weight": 1.0, "warm-up-epochs": 0, "hard-weight": 1.0, "structure": "residual", "fusion": "attention",
        "distance": "hierarchical", "channels": 512, "student-taps": "after", "teacher-taps": "before"}"#;
    let spec: MethodSpec = serde_json::from_str(spec).expect("a method");
    for (teacher, student, adapters) in pairs {
        let what = format!("{teacher} -> {student}");
        let device = &Device::Cpu;
        let network = |name: &str| NetworkSpec::from_name(name, 10);
        // Zeros will do: shapes are what is looked at.
        let teacher = {
            let (params, vb) = Params::seeded(Seed(0), device);
            network(teacher)?.build(vb)?;
            let zeros = params
                .named()
                .into_iter()
                .chain(params.buffers())
                .map(|(name, var)| Ok((name, var.zeros_like()?)));
            Frozen::build(zeros.collect::<Result<_>>()?, device, |vb| network(teacher)?.build(vb))?
        };
        let (params, vb) = Params::seeded(Seed(0), device);
        let student = network(student)?.build(vb.clone())?;
        let alone = params.count();
        let method = spec.build(&Context::new(&*student, Some(&teacher), &[], &params, &vb))?;
        assert_eq!(params.count() - alone, adapters, "{what}");
        // One step: every level of the student comes out in the shape of the teacher's, or the
        // distance would fail.
        let xs = Tensor::ones((2, 3, 32, 32), candle_core::DType::F32, device)?;
        let draws = StepSeed { seed: Seed(0), epoch: 0, step: 0 };
        let Teaching::Live { taps } = &method.wants().teaching else {
            panic!("review takes the teacher's maps")
        };
        let outputs =
            student.forward(&xs, &names(&method.wants().student_taps), Mode::Train(draws))?;
        let taught = teacher.forward(&xs, &names(taps))?;
        let labels = Tensor::new(&[0u32, 1], device)?;
        let step = Step {
            student: Some(&outputs),
            teacher: Some(&taught),
            second: None,
            labels: &labels,
            numbers: &[],
            epoch: 0,
            draws,
        };
        let terms = method.terms(&step)?;
        assert!(
            terms.iter().all(|term| term.value.to_scalar::<f32>().is_ok_and(f32::is_finite)),
            "{what}"
        );
    }
    Ok(())
}
