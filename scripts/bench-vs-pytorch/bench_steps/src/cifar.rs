//! Steps and evaluation passes of networks for CIFAR-100 on random images that are ready in memory:
//! loading runs on a thread of its own in training, so it is left out on both sides.

use candle_core::{Device, Tensor};
use kd_core::method::hard_targets::HardTargets;
use kd_core::model::NetworkSpec;
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{
    Batch, Errors, Examples, Fit, Optimizer, OptimizerSpec, Schedule, TrainSpec, predict,
};
use kd_core::{Error, Result};
use kd_kernels::conv2d::Precision;

use crate::Arguments;
use crate::work::Timed;

pub const CLASSES: usize = 100;
/// Batches that the steps go through in turn.
pub const BATCHES: usize = 4;
/// Images of an evaluation pass, and of one forward pass of it.
const EVALUATED: usize = 2000;
const CHUNK: usize = 200;

/// The timed steps of `ARCH-step`, `ARCH-step-precise` or `ARCH-evaluation`.
pub fn run(workload: &str, arguments: &Arguments) -> Result<Timed> {
    if let Some(arch) = workload.strip_suffix("-evaluation") {
        return evaluation(arch, arguments);
    }
    if let Some(arch) = workload.strip_suffix("-step-precise") {
        return training(arch, Precision::Precise, arguments);
    }
    match workload.strip_suffix("-step") {
        Some(name) => crate::distillation::training(name, arguments)
            .unwrap_or_else(|| training(name, Precision::Fast, arguments)),
        None => Err(Error::bad_input(format!("unknown workload {workload}"))),
    }
}

/// The batch of the networks' training in the comparison: 64 for the larger ones.
fn batch_size(arch: &str) -> usize {
    match arch {
        "resnet32x4" | "wrn-40-2" | "vgg13" => 64,
        _ => 128,
    }
}

/// Batches that are made before the clock starts.
pub struct PreparedBatches(Vec<(Tensor, Tensor, Vec<u32>)>);

impl PreparedBatches {
    pub fn new(count: usize, size: usize) -> Result<Self> {
        let batch = |i: usize| {
            let images = images(size, i)?;
            let labels: Vec<u32> = (0..size).map(|j| ((i * size + j) % CLASSES) as u32).collect();
            let numbers = (0..size).map(|j| (i * size + j) as u32).collect();
            Ok((images, Tensor::new(labels, &Device::Cpu)?, numbers))
        };
        Ok(Self((0..count).map(batch).collect::<Result<_>>()?))
    }
}

fn images(count: usize, part: usize) -> Result<Tensor> {
    let mut values = vec![0f32; count * 3 * 32 * 32];
    Seed(1).stream("bench.images", 0, part).fill_normal(0, &mut values);
    Ok(Tensor::from_vec(values, (count, 3, 32, 32), &Device::Cpu)?)
}

impl Examples for PreparedBatches {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, rows: &[u32], _step: StepSeed, _device: &Device) -> Result<Batch> {
        let (inputs, labels, numbers) = self.0[rows[0] as usize].clone();
        Ok(Batch { inputs, labels, numbers, teacher_logits: None })
    }
}

fn training(arch: &str, precision: Precision, arguments: &Arguments) -> Result<Timed> {
    let examples = PreparedBatches::new(BATCHES, batch_size(arch))?;
    let (params, vb) = Params::seeded(Seed(1), &Device::Cpu);
    let model = NetworkSpec::from_name(arch, CLASSES)?.build_with(precision, vb)?;
    let spec = TrainSpec {
        epochs: 1,
        batch_size: 1,
        learning_rate: 0.05,
        schedule: Schedule::Constant {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 },
        max_norm: 0.,
        average_epochs: 0,
    };
    let mut optimizer = Optimizer::new(&spec.optimizer, None, &params)?;
    let method = HardTargets::default();
    let fit = Fit::new(&*model, &params, &method, &examples, &spec, Seed(1), &Device::Cpu);
    let multiply_adds = 3. * model.multiply_adds() as f64 * batch_size(arch) as f64;
    Timed::run(arguments.warmup, arguments.steps, multiply_adds, |step| {
        let draws = StepSeed { seed: Seed(1), epoch: 0, step };
        fit.step(&mut optimizer, &[(step % BATCHES) as u32], draws, spec.learning_rate)?;
        Ok(())
    })
}

fn evaluation(arch: &str, arguments: &Arguments) -> Result<Timed> {
    let images = images(EVALUATED, 0)?;
    let labels: Vec<u8> = (0..EVALUATED).map(|i| (i % CLASSES) as u8).collect();
    let (_, vb) = Params::seeded(Seed(1), &Device::Cpu);
    let model = NetworkSpec::from_name(arch, CLASSES)?.build_with(Precision::Fast, vb)?;
    Timed::run(
        arguments.warmup,
        arguments.steps,
        (model.multiply_adds() * EVALUATED as u64) as f64,
        |_| {
            let logits = predict(&*model, EVALUATED, CHUNK, |rows| {
                Ok(images.narrow(0, rows.start, rows.len())?)
            })?;
            std::hint::black_box(Errors::count(&logits, &labels)?.total());
            Ok(())
        },
    )
}
