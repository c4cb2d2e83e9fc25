//! Steps and evaluation passes of networks for CIFAR-100 on random images that are ready in memory:
//! loading runs on a thread of its own in training, so it is left out on both sides.

use kd_core::method::hard_targets::HardTargets;
use kd_core::model::NetworkSpec;
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Errors, Fit, Optimizer, OptimizerSpec, Schedule, TrainSpec, predict};
use kd_core::{Error, Result};
use kd_kernels::conv2d::Precision;

use crate::Arguments;
use crate::batches::{BATCHES, CLASSES, PreparedBatches, images};
use crate::work::Timed;

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
        Some(name) => training(name, Precision::Fast, arguments),
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

fn training(arch: &str, precision: Precision, arguments: &Arguments) -> Result<Timed> {
    let examples = PreparedBatches::new(BATCHES, batch_size(arch), arguments.device()?)?;
    let (params, vb) = Params::seeded(Seed(1), arguments.device()?);
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
    let fit = Fit::new(&*model, &params, &method, &examples, &spec, Seed(1), arguments.device()?);
    let multiply_adds = 3. * model.multiply_adds() as f64 * batch_size(arch) as f64;
    Timed::run(arguments, multiply_adds, |step| {
        let draws = StepSeed { seed: Seed(1), epoch: 0, step };
        fit.step(&mut optimizer, &[(step % BATCHES) as u32], draws, spec.learning_rate)?;
        Ok(())
    })
}

fn evaluation(arch: &str, arguments: &Arguments) -> Result<Timed> {
    let images = images(EVALUATED, 0, arguments.device()?)?;
    let labels: Vec<u8> = (0..EVALUATED).map(|i| (i % CLASSES) as u8).collect();
    let (_, vb) = Params::seeded(Seed(1), arguments.device()?);
    let model = NetworkSpec::from_name(arch, CLASSES)?.build_with(Precision::Fast, vb)?;
    Timed::run(arguments, (model.multiply_adds() * EVALUATED as u64) as f64, |_| {
        let logits = predict(&*model, EVALUATED, CHUNK, |rows| {
            Ok(images.narrow(0, rows.start, rows.len())?)
        })?;
        std::hint::black_box(Errors::count(&logits, &labels)?.total());
        Ok(())
    })
}
