//! Steps of the networks of Hinton et al. 2015 on random images of MNIST's size.

use kd_core::data::{ImageExamples, LabelledImages};
use kd_core::method::hard_targets::HardTargets;
use kd_core::method::soft_targets::{self, SoftTargets};
use kd_core::method::{Distillation, Teaching};
use kd_core::model::Model;
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{
    Errors, Examples, Fit, Optimizer, OptimizerSpec, Schedule, TrainSpec, predict,
};

use crate::Arguments;
use crate::work::Timed;

/// 784-1200-1200-10 with dropout, jitter and max-norm.
pub fn teacher_step(arguments: &Arguments) -> kd_core::Result<Timed> {
    training(arguments, net(1200, true), &HardTargets::default(), 2, 3.87)
}

/// 784-800-800-10 on stored logits of a teacher, T = 20.
pub fn distillation_step(arguments: &Arguments) -> kd_core::Result<Timed> {
    let soft = SoftTargets::new(soft_targets::Spec {
        temperature: 20.,
        soft_weight: 1.,
        hard_weight: 0.1,
        ..soft_targets::Spec::default()
    });
    training(arguments, net(800, false), &soft, 0, 0.)
}

const BATCH: usize = 100;

fn images(n: usize) -> LabelledImages {
    let stream = Seed(1).stream("bench.images", 0, 0);
    let mut words = vec![0u32; n * 784 / 4];
    stream.fill_u32(0, &mut words);
    let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    LabelledImages::grey(bytes, (0..n).map(|i| (i % 10) as u8).collect(), 28, 28, 10)
}

fn net(hidden: usize, dropout: bool) -> MlpSpec {
    let (input, inner) = if dropout { (0.2, 0.5) } else { (0., 0.) };
    MlpSpec {
        inputs: 784,
        hidden: vec![hidden; 2],
        classes: 10,
        dropout_input: input,
        dropout_hidden: inner,
        init: WeightInit::HeNormal,
    }
}

/// The timed steps, making the batch included.
fn training(
    arguments: &Arguments,
    net: MlpSpec,
    method: &dyn Distillation,
    jitter: u8,
    max_norm: f64,
) -> kd_core::Result<Timed> {
    let images = images(60_000);
    let mut logits = vec![0f32; 600_000];
    Seed(1).stream("bench.logits", 0, 0).fill_normal(0, &mut logits);
    logits.iter_mut().for_each(|v| *v *= 5.);
    let teacher_logits = (method.wants().teaching != Teaching::None).then_some(logits);
    let examples =
        ImageExamples { images: &images, rows: (0..60_000).collect(), jitter, teacher_logits };
    let (params, vb) = Params::seeded(Seed(1), arguments.device()?);
    let model = Mlp::new(&net, vb)?;
    let spec = TrainSpec {
        epochs: 1,
        batch_size: BATCH,
        learning_rate: 0.1,
        schedule: Schedule::Constant {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0. },
        max_norm,
        average_epochs: 0,
    };
    let mut optimizer =
        Optimizer::new(&spec.optimizer, (max_norm > 0.).then_some(max_norm), &params)?;
    let fit = Fit::new(&model, &params, method, &examples, &spec, Seed(1), arguments.device()?);
    let (mut order, per_epoch) = (Vec::new(), examples.len() / BATCH);
    Timed::run(arguments, 3. * model.multiply_adds() as f64 * BATCH as f64, |i| {
        let (epoch, step) = (i / per_epoch, i % per_epoch);
        if step == 0 {
            order = Seed(1)
                .stream("shuffle", epoch, 0)
                .permutation(examples.len())
                .into_iter()
                .map(|r| r as u32)
                .collect();
        }
        fit.step(
            &mut optimizer,
            &order[step * BATCH..][..BATCH],
            StepSeed { seed: Seed(1), epoch, step },
            spec.learning_rate,
        )?;
        Ok(())
    })
}

/// The timed passes over 10,000 images, from bytes to counted errors.
pub fn evaluation(arguments: &Arguments) -> kd_core::Result<Timed> {
    let images = images(10_000);
    let (_, vb) = Params::seeded(Seed(1), arguments.device()?);
    let model: Box<dyn Model> = Box::new(Mlp::new(&net(1200, true), vb)?);
    Timed::run(arguments, (model.multiply_adds() * images.len() as u64) as f64, |_| {
        let logits = predict(&*model, images.len(), 1000, |rows| {
            Ok(images.range_to_tensor(rows, arguments.device()?)?)
        })?;
        std::hint::black_box(Errors::count(&logits, &images.labels)?.total());
        Ok(())
    })
}
