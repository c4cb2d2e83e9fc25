//! A toy problem for the loop, and observers that stop it.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::frozen::{Frozen, Teacher};
use kd_core::model::Model;
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Batch, EpochRecord, Examples, Observer, OptimizerSpec, Schedule, TrainSpec};
use kd_core::{Error, Result};

pub(super) const DEVICE: Device = Device::Cpu;

pub(super) const POINTS: usize = 40;

/// Points of eight dimensions: two classes by the sign of their sum.
pub(super) struct Points;

impl Examples for Points {
    fn len(&self) -> usize {
        POINTS
    }

    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> Result<Batch> {
        let points: Vec<f32> = rows
            .iter()
            .flat_map(|&r| (0..8).map(move |i| ((r * 8 + i) as f32 * 0.7).sin()))
            .collect();
        let labels: Vec<u32> =
            points.chunks(8).map(|p| u32::from(p.iter().sum::<f32>() > 0.)).collect();
        let inputs = Tensor::from_vec(points, (rows.len(), 8), device)?;
        Ok(Batch {
            inputs,
            labels: Tensor::new(labels, device)?,
            numbers: rows.to_vec(),
            teacher_logits: None,
        })
    }
}

pub(super) fn net(hidden: usize) -> MlpSpec {
    MlpSpec {
        inputs: 8,
        hidden: vec![hidden],
        classes: 2,
        dropout_input: 0.,
        dropout_hidden: 0.,
        init: WeightInit::HeNormal,
    }
}

pub(super) fn teacher() -> Result<Teacher> {
    teacher_of(Seed(9))
}

pub(super) fn teacher_of(seed: Seed) -> Result<Teacher> {
    let (params, vb) = Params::seeded(seed, &DEVICE);
    Mlp::new(&net(12), vb)?;
    Frozen::build(params.snapshot()?, &DEVICE, |vb| {
        Ok(Box::new(Mlp::new(&net(12), vb)?) as Box<dyn Model>)
    })
}

pub(super) fn recipe(epochs: usize) -> TrainSpec {
    TrainSpec {
        epochs,
        batch_size: 8,
        learning_rate: 0.05,
        schedule: Schedule::Constant {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-3 },
        max_norm: 0.,
        average_epochs: 0,
    }
}

pub(super) type Weights = BTreeMap<String, Vec<u32>>;

pub(super) fn bits(params: &Params) -> Result<Weights> {
    let bits = |t: Tensor| -> Result<Vec<u32>> {
        Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
    };
    params.snapshot()?.into_iter().map(|(name, t)| Ok((name, bits(t)?))).collect()
}

/// Stops a run as a kill does, after so many epochs that it trained itself, and counts those of an
/// earlier process.
pub(super) struct Stop {
    pub(super) after: usize,
    pub(super) trained: usize,
    pub(super) resumed: usize,
}

impl Stop {
    pub(super) fn after(after: usize) -> Self {
        Self { after, trained: 0, resumed: 0 }
    }
}

impl Observer for Stop {
    fn epoch(&mut self, _: &EpochRecord) {
        self.trained += 1;
        assert!(self.trained <= self.after, "stopped as if killed");
    }

    fn resumed(&mut self, _: &EpochRecord) {
        self.resumed += 1;
    }
}

/// Asks a run to stop after so many steps that it makes itself.
pub(super) struct Ask {
    pub(super) after: usize,
    pub(super) made: usize,
}

impl Observer for Ask {
    fn epoch(&mut self, _: &EpochRecord) {}

    fn stops(&mut self) -> bool {
        self.made += 1;
        self.made >= self.after
    }

    fn resumed(&mut self, _: &EpochRecord) {}
}

pub(super) type Outcome = Result<Option<(Weights, Vec<EpochRecord>)>>;

/// Runs `train` again and again, each time for so many steps, to its end; with how often it was
/// stopped.
pub(super) fn in_parts(
    steps: usize,
    train: impl Fn(&mut dyn Observer) -> Outcome,
) -> Result<(usize, Weights, Vec<EpochRecord>)> {
    for stops in 0..1000 {
        match train(&mut Ask { after: steps, made: 0 }) {
            Err(Error::Stopped { .. }) => {}
            done => {
                let (weights, records) = done?.expect("an end");
                return Ok((stops, weights, records));
            }
        }
    }
    panic!("no end");
}

/// The records without the time that they took.
pub(super) fn timeless(records: &[EpochRecord]) -> Vec<EpochRecord> {
    records.iter().map(|record| EpochRecord { seconds: 0., ..record.clone() }).collect()
}

/// Runs `train` until it is stopped; none then.
pub(super) fn until_stopped<T>(train: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(train))
        .map_or(Ok(None), |done| done.map(Some))
}
