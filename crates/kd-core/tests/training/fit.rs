//! The training loop, parameters and frozen networks, on a toy problem.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use kd_core::frozen::Frozen;
use kd_core::method::hard_targets::HardTargets;
use kd_core::method::{MethodSpec, Recipe, soft_targets};
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::model::{Mode, Model};
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{
    Batch, EpochRecord, Examples, Fit, Observer, Optimizer, OptimizerSpec, Schedule, StepRecord,
    TrainSpec,
};
use kd_core::{Error, Result};

/// Points on a line of eight dimensions: two classes by the sign of their sum.
struct Points;

impl Examples for Points {
    fn len(&self) -> usize {
        70
    }

    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> Result<Batch> {
        let value = |row: u32, i: u32| ((row * 8 + i) as f32 * 0.7).sin();
        let points: Vec<Vec<f32>> =
            rows.iter().map(|&r| (0..8).map(|i| value(r, i)).collect()).collect();
        let labels: Vec<u32> =
            points.iter().map(|p| u32::from(p.iter().sum::<f32>() > 0.)).collect();
        let n = rows.len();
        Ok(Batch {
            inputs: Tensor::from_vec(points.concat(), (n, 8), device)?,
            labels: Tensor::new(labels, device)?,
            numbers: rows.to_vec(),
            teacher_logits: None,
        })
    }
}

fn net(dropout: f64) -> MlpSpec {
    MlpSpec {
        inputs: 8,
        hidden: vec![6, 5],
        classes: 2,
        dropout_input: 0.,
        dropout_hidden: dropout,
        init: WeightInit::HeNormal,
    }
}

fn spec(epochs: usize) -> TrainSpec {
    TrainSpec {
        epochs,
        batch_size: 16,
        learning_rate: 0.1,
        schedule: Schedule::Cosine {},
        warm_up_epochs: 1,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0. },
        max_norm: 2.,
        average_epochs: 0,
    }
}

type Weights = BTreeMap<String, Vec<f32>>;

fn train(
    spec: &TrainSpec,
    state: Option<PathBuf>,
    stop_after: usize,
) -> Result<(Weights, Vec<EpochRecord>)> {
    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    let model = Mlp::new(&net(0.3), vb)?;
    let method = HardTargets::default();
    let fit =
        Fit { state, ..Fit::new(&model, &params, &method, &Points, spec, Seed(3), &Device::Cpu) };
    let records = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fit.run(&mut |record: &EpochRecord| {
            assert!(record.epoch <= stop_after, "stopped as if killed")
        })
    }));
    let records = records.unwrap_or_else(|_| Ok(Vec::new()))?;
    let weights = params.snapshot()?.into_iter().map(|(n, t)| Ok((n, t.flatten_all()?.to_vec1()?)));
    Ok((weights.collect::<Result<_>>()?, records))
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_weights_and_records_bit_for_bit() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    for average_epochs in [0, 4] {
        let spec = TrainSpec { average_epochs, ..spec(7) };
        let (whole, records) = train(&spec, None, 7)?;
        let state = dir.path().join(format!("{average_epochs}.safetensors"));
        train(&spec, Some(state.clone()), 4)?;
        assert!(state.exists());
        let (resumed, again) = train(&spec, Some(state), 7)?;
        assert_eq!(whole, resumed);
        let losses =
            |records: &[EpochRecord]| records.iter().map(|r| r.loss.to_bits()).collect::<Vec<_>>();
        assert_eq!(losses(&records), losses(&again));
        assert_eq!(records.len(), 7);
    }
    Ok(())
}

/// The weights that steps taken one by one lead to at a constant rate, and the loss of each step of
/// each epoch.
fn stepped(spec: &TrainSpec) -> Result<(Params, Vec<Vec<f64>>)> {
    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    let model = Mlp::new(&net(0.3), vb)?;
    let method = HardTargets::default();
    let fit = Fit::new(&model, &params, &method, &Points, spec, Seed(3), &Device::Cpu);
    let mut optimizer = Optimizer::new(&spec.optimizer, Some(spec.max_norm), &params)?;
    let mut losses = Vec::new();
    for epoch in 0..spec.epochs {
        let order = Seed(3).stream("shuffle", epoch, 0).permutation(Points.len());
        let order: Vec<u32> = order.into_iter().map(|row| row as u32).collect();
        let mut of_epoch = Vec::new();
        for (step, rows) in order.chunks(spec.batch_size).enumerate() {
            let draws = StepSeed { seed: Seed(3), epoch, step };
            let terms = fit.step(&mut optimizer, rows, draws, spec.learning_rate)?;
            of_epoch.push(terms.iter().map(|t| t.weight * f64::from(t.value)).sum());
        }
        losses.push(of_epoch);
    }
    Ok((params, losses))
}

fn constant(epochs: usize) -> TrainSpec {
    TrainSpec { schedule: Schedule::Constant {}, warm_up_epochs: 0, ..spec(epochs) }
}

/// The mean over the first `n` steps of an epoch.
fn mean(losses: &[f64], n: usize) -> f64 {
    losses[..n].iter().sum::<f64>() / n as f64
}

#[test]
fn batches_made_ahead_train_to_the_weights_of_batches_made_at_each_step() -> Result<()> {
    let (ahead, records) = train(&constant(3), None, 3)?;
    let (params, losses) = stepped(&constant(3))?;
    for (losses, record) in losses.iter().zip(&records) {
        assert_eq!(record.loss, mean(losses, 5));
    }
    for (name, tensor) in params.snapshot()? {
        assert_eq!(ahead[&name], tensor.flatten_all()?.to_vec1::<f32>()?, "{name}");
    }
    Ok(())
}

/// Points of which the batch of one step cannot be made.
struct UnreadableBatch;

impl Examples for UnreadableBatch {
    fn len(&self) -> usize {
        70
    }

    fn batch(&self, rows: &[u32], draws: StepSeed, device: &Device) -> Result<Batch> {
        match (draws.epoch, draws.step) {
            (1, 2) => Err(Error::bad_input("no batch for step 2")),
            _ => Points.batch(rows, draws, device),
        }
    }
}

#[test]
fn a_batch_that_cannot_be_made_stops_the_run_with_its_error() -> Result<()> {
    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    let model = Mlp::new(&net(0.3), vb)?;
    let method = HardTargets::default();
    let spec = &spec(3);
    let fit = Fit::new(&model, &params, &method, &UnreadableBatch, spec, Seed(3), &Device::Cpu);
    let mut epochs = 0;
    let error = fit.run(&mut |_: &EpochRecord| epochs += 1).expect_err("no batch");
    assert_eq!((error.to_string().as_str(), epochs), ("no batch for step 2", 1));
    Ok(())
}

/// Keeps what it is told: (epoch, step), and (epoch, 0) for the end of an epoch; and the losses of
/// the steps.
#[derive(Default)]
struct RecordingObserver(Vec<(usize, usize)>, Vec<f64>);

impl Observer for RecordingObserver {
    fn step(&mut self, record: StepRecord) {
        assert_eq!(record.steps, 5);
        self.0.push((record.epoch, record.step));
        self.1.push(record.loss);
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.0.push((record.epoch, 0));
    }
}

#[test]
fn an_observer_is_told_of_each_step_and_epoch_and_of_those_of_an_earlier_process() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let state = Some(dir.path().join("state.safetensors"));
    let spec = &constant(2);
    train(spec, state.clone(), 1)?;
    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    let model = Mlp::new(&net(0.3), vb)?;
    let method = HardTargets::default();
    let fit =
        Fit { state, ..Fit::new(&model, &params, &method, &Points, spec, Seed(3), &Device::Cpu) };
    let mut observer = RecordingObserver::default();
    fit.run(&mut observer)?;
    assert_eq!(observer.0, [(1, 0), (2, 1), (2, 2), (2, 3), (2, 4), (2, 0)]);
    let losses = &stepped(spec)?.1[1];
    assert_eq!(observer.1, [1, 2, 3, 4].map(|n| mean(losses, n)));
    Ok(())
}

#[test]
fn training_lowers_the_loss_and_keeps_every_unit_within_the_cap() -> Result<()> {
    let (weights, records) = train(&spec(20), None, 20)?;
    assert!(
        records[19].loss < 0.7 * records[0].loss,
        "{} to {}",
        records[0].loss,
        records[19].loss
    );
    for row in weights["layers.0.weight"].chunks(8) {
        assert!(row.iter().map(|w| w * w).sum::<f32>().sqrt() <= 2.);
    }
    Ok(())
}

#[test]
fn averaging_gives_the_mean_of_the_last_epochs_weights() -> Result<()> {
    let (second, _) = train(&constant(2), None, 3)?;
    let (third, _) = train(&constant(3), None, 3)?;
    let (mean, _) = train(&TrainSpec { average_epochs: 2, ..constant(3) }, None, 3)?;
    for (name, values) in &mean {
        for (i, v) in values.iter().enumerate() {
            let expected = (second[name][i] + third[name][i]) / 2.;
            assert!((v - expected).abs() < 1e-6, "{name}[{i}]: {v}, expected {expected}");
        }
    }
    Ok(())
}

#[test]
fn the_state_of_another_run_is_refused_and_not_overwritten() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("state.safetensors");
    train(&spec(2), Some(state.clone()), 2)?;
    let before = std::fs::read(&state).expect("the state");
    let e = train(&spec(3), Some(state.clone()), 3).expect_err("another recipe");
    assert!(e.is_bad_input() && e.to_string().contains("state.safetensors"), "{e}");
    assert_eq!(std::fs::read(&state).expect("the state"), before);
    Ok(())
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_naming_term_epoch_and_step() -> Result<()> {
    let wild = TrainSpec { learning_rate: 1e30, warm_up_epochs: 0, max_norm: 0., ..spec(3) };
    match train(&wild, None, 3) {
        Err(e @ Error::NonFinite { epoch: 1, .. }) => {
            let text = e.to_string();
            assert!(
                text.contains("'hard'") && text.contains("epoch 1, step ") && e.is_bad_input(),
                "{text}"
            );
        }
        other => panic!("expected a stop, got {other:?}"),
    }
    Ok(())
}

#[test]
fn parameters_that_leave_the_finite_numbers_in_the_last_step_are_no_result() -> Result<()> {
    let one_step = TrainSpec {
        learning_rate: 1e300,
        warm_up_epochs: 0,
        max_norm: 0.,
        batch_size: 1_000,
        average_epochs: 0,
        ..spec(1)
    };
    let e = train(&one_step, None, 1).expect_err("a weight of infinity");
    assert!(e.is_bad_input() && e.to_string().contains(" after epoch 1; "), "{e}");
    Ok(())
}

#[test]
fn a_checkpoint_of_another_network_is_refused_with_every_name_that_does_not_fit() -> Result<()> {
    let (params, vb) = Params::seeded(Seed(1), &Device::Cpu);
    let model = Mlp::new(&net(0.), vb)?;
    let mut tensors = params.snapshot()?;
    let frozen = Frozen::build(tensors.clone(), &Device::Cpu, |vb| Mlp::new(&net(0.), vb))?;
    let xs = Tensor::ones((3, 8), candle_core::DType::F32, &Device::Cpu)?;
    let (a, b) =
        (model.forward(&xs, &[], Mode::Evaluate)?.logits, frozen.forward(&xs, &[])?.logits);
    assert_eq!(a.to_vec2::<f32>()?, b.to_vec2::<f32>()?);
    assert!(!b.track_op(), "a frozen network's logits carry a graph");

    tensors.remove("layers.0.bias");
    tensors.insert("head.weight".into(), Tensor::zeros(4, candle_core::DType::F32, &Device::Cpu)?);
    tensors
        .insert("layers.2.bias".into(), Tensor::zeros(7, candle_core::DType::F32, &Device::Cpu)?);
    let Err(e) = Frozen::build(tensors, &Device::Cpu, |vb| Mlp::new(&net(0.), vb)) else {
        panic!("it was accepted")
    };
    let text = e.to_string();
    for part in
        ["missing layers.0.bias", "extra head.weight", "layers.2.bias: expected [2], got [7]"]
    {
        assert!(e.is_bad_input() && text.contains(part), "{part} is missing in {text}");
    }
    Ok(())
}

#[test]
fn taps_come_as_declared_and_an_unknown_one_lists_those_there_are() -> Result<()> {
    let (_, vb) = Params::seeded(Seed(1), &Device::Cpu);
    let model = Mlp::new(&net(0.), vb)?;
    let xs = Tensor::ones((3, 8), candle_core::DType::F32, &Device::Cpu)?;
    let out = model.forward(&xs, &["hidden.1", "hidden.0"], Mode::Evaluate)?;
    let declared: Vec<usize> = model.taps().iter().map(|t| t.channels).collect();
    assert_eq!([out.taps[1].dims()[1], out.taps[0].dims()[1]].to_vec(), declared);
    let Err(e) = model.forward(&xs, &["hidden.7"], Mode::Evaluate) else {
        panic!("an unknown tap was accepted")
    };
    assert!(e.to_string().contains("hidden.0, hidden.1"), "{e}");
    Ok(())
}

#[test]
fn initial_weights_depend_on_seed_and_name_alone() -> Result<()> {
    let weights = |seed: u64, hidden: Vec<usize>| -> Result<Vec<f32>> {
        let (params, vb) = Params::seeded(Seed(seed), &Device::Cpu);
        Mlp::new(&MlpSpec { hidden, ..net(0.) }, vb)?;
        Ok(params.snapshot()?["layers.0.weight"].flatten_all()?.to_vec1()?)
    };
    assert_eq!(weights(1, vec![6])?, weights(1, vec![6, 5])?);
    assert_ne!(weights(1, vec![6])?, weights(2, vec![6])?);
    Ok(())
}

#[test]
fn hyper_parameters_outside_their_domain_are_bad_input_that_names_them() {
    let soft = |temperature, soft_weight, hard_weight| {
        MethodSpec::from(soft_targets::Spec {
            temperature,
            soft_weight,
            hard_weight,
            ..Default::default()
        })
    };
    for (method, part) in [
        (soft(0., 1., 0.), "temperature"),
        (soft(4., -1., 0.), "soft-weight"),
        (soft(4., 0., 0.), "not both 0"),
    ] {
        let Err(e) = method.check() else { panic!("{method:?} was accepted") };
        assert!(e.is_bad_input() && e.to_string().contains(part), "{e}");
    }
    let cases = [
        (TrainSpec { epochs: usize::MAX, ..spec(1) }, "epochs"),
        (TrainSpec { warm_up_epochs: usize::MAX, ..spec(1) }, "warm-up-epochs"),
        (TrainSpec { batch_size: 0, ..spec(1) }, "batch-size"),
        (TrainSpec { batch_size: usize::MAX, ..spec(1) }, "batch-size"),
        (TrainSpec { learning_rate: f64::NAN, ..spec(1) }, "learning-rate"),
        (TrainSpec { max_norm: -1., ..spec(1) }, "max-norm"),
        (TrainSpec { average_epochs: 2, ..spec(1) }, "average-epochs"),
        (
            TrainSpec {
                optimizer: OptimizerSpec::Sgd { momentum: 1., nesterov: false, weight_decay: 0. },
                ..spec(1)
            },
            "momentum",
        ),
    ];
    for (spec, part) in cases {
        let e = spec.check().expect_err(part);
        assert!(e.is_bad_input() && e.to_string().contains(part), "{e}");
    }
    assert!(spec(1).check().is_ok());
    for dropout in [1., -0.1] {
        assert!(net(dropout).check().is_err_and(|e| e.to_string().contains("dropout-hidden")));
    }
}
