//! Whole distillation steps on random images that are ready in memory: teacher, student, adapters,
//! loss, backward pass and optimiser.

use kd_core::frozen::Frozen;
use kd_core::method::{Context, MethodSpec, Recipe};
use kd_core::model::{Model, NetworkSpec};
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Fit, Optimizer, OptimizerSpec, Schedule, TrainSpec};
use kd_core::{Error, Result};
use kd_kernels::conv2d::Precision;

use crate::Arguments;
use crate::batches::{BATCHES, CLASSES, PreparedBatches};
use crate::work::Timed;

/// A workload: its name, its networks, whether the teacher normalises with the statistics of the
/// batch, and the method.
struct Workload(&'static str, &'static str, &'static str, bool, &'static str);

const REVIEW: &str = r#""kind": "review", "warm-up-epochs": 0, "hard-weight": 1.0, "structure": "residual", "fusion": "attention",
    "distance": "hierarchical", "channels": 512, "student-taps": "after", "teacher-taps": "before""#;

const WORKLOADS: [Workload; 5] = [
    Workload(
        "kd",
        "resnet56",
        "resnet20",
        false,
        r#""kind": "soft-targets", "temperature": 4.0, "soft-weight": 0.9, "hard-weight": 0.1"#,
    ),
    Workload(
        "at",
        "resnet56",
        "resnet20",
        false,
        r#""kind": "at", "weight": 1000.0, "hard-weight": 1.0"#,
    ),
    Workload(
        "crd",
        "resnet56",
        "resnet20",
        false,
        r#""kind": "crd", "weight": 0.8, "width": 128, "temperature": 0.07, "negatives": 16384,
           "momentum": 0.5, "hard-weight": 1.0"#,
    ),
    Workload("review", "resnet56", "resnet20", true, r#""weight": 0.6"#),
    Workload("review-wrn", "wrn-40-2", "wrn-16-2", true, r#""weight": 5.0"#),
];

/// The timed steps of `METHOD-step`; none where no method here has that name.
pub fn training(workload: &str, arguments: &Arguments) -> Option<Result<Timed>> {
    let name = workload.strip_suffix("-step")?;
    let workload = WORKLOADS.iter().find(|workload| workload.0 == name)?;
    Some(timed(workload, arguments))
}

fn timed(
    &Workload(name, teacher, student, batch_statistics, method): &Workload,
    arguments: &Arguments,
) -> Result<Timed> {
    const BATCH: usize = 128;
    let device = arguments.device()?;
    let examples = PreparedBatches::new(BATCHES, BATCH, device)?;
    let teacher = {
        let spec = NetworkSpec::from_name(teacher, CLASSES)?;
        let (params, vb) = Params::seeded(Seed(2), device);
        spec.build(vb)?;
        let frozen =
            Frozen::build(params.snapshot()?, device, |vb| spec.build_with(Precision::Fast, vb))?;
        if batch_statistics { frozen.with_batch_statistics() } else { frozen }
    };
    let (params, vb) = Params::seeded(Seed(1), device);
    let model =
        NetworkSpec::from_name(student, CLASSES)?.build_with(Precision::Fast, vb.clone())?;
    let text = if name.starts_with("review") {
        format!("{{{REVIEW}, {method}}}")
    } else {
        format!("{{{method}}}")
    };
    let method: MethodSpec =
        serde_json::from_str(&text).map_err(|e| Error::bad_input(format!("{name}: {e}")))?;
    let labels: Vec<u8> = (0..50_000).map(|i| (i % CLASSES) as u8).collect();
    let context = Context::new(&*model, Some(&teacher), &labels, &params, &vb)
        .with_precision(Precision::Fast);
    let method = method.build(&context)?;
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
    let fit = Fit {
        teacher: Some(&teacher),
        ..Fit::new(&*model, &params, &*method, &examples, &spec, Seed(1), device)
    };
    let multiply_adds =
        (3 * model.multiply_adds() + teacher.model().multiply_adds()) as f64 * BATCH as f64;
    Timed::run(arguments, multiply_adds, |step| {
        let draws = StepSeed { seed: Seed(1), epoch: 0, step };
        fit.step(&mut optimizer, &[(step % BATCHES) as u32], draws, spec.learning_rate)?;
        Ok(())
    })
}
