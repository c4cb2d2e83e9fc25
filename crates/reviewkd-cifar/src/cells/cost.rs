//! `cost`: what a training step of a method takes, beside a step of its student alone.
//!
//! Both run on random images that are ready in memory, by turns, so that a machine whose speed
//! changes changes it for both: the time of a dense step does not depend on its values, as long as
//! they are finite. So that they are, the teacher's running statistics settle on such images first.
//!
//! Metrics: `step-milliseconds`, the median of the method's steps (teacher, student, adapters,
//! loss, backward pass and optimiser); `alone-milliseconds`, that of the student with hard targets;
//! `time-over-alone`, their ratio; `peak-mebibytes`, the most memory in use at once in the method's
//! steps, networks and batches included; `adapter-parameters`, which are dropped after training.

use std::time::Instant;

use candle_core::{Device, Tensor};
use kd_core::data::StrongView;
use kd_core::frozen::{Frozen, Teacher};
use kd_core::method::{Context, Distillation, MethodSpec, PREFIX, Recipe, hard_targets};
use kd_core::model::{Mode, Model, NetworkSpec};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::train::{Batch, Examples, Fit, Optimizer, Schedule, TrainSpec};
use kd_core::{Result, Seed, memory};
use kd_experiment::CellResult;

use super::Work;
use crate::spec::{CostCell, TeacherStatistics};

/// The names of its metrics.
pub const METRICS: [&str; 5] = [
    "step-milliseconds",
    "alone-milliseconds",
    "time-over-alone",
    "peak-mebibytes",
    "adapter-parameters",
];

/// The classes of CIFAR-100.
const CLASSES: usize = 100;

/// Forward passes that a teacher's running statistics settle in: each moves them by a tenth, so
/// that 0.9^40 = 1.5 % of where they began is left.
const SETTLING: usize = 40;

/// Images of such a pass.
const SETTLING_IMAGES: usize = 16;

/// Times the steps of `cell`.
///
/// # Errors
/// When the method does not fit the pair, or a step fails.
pub fn run(cell: &CostCell, work: &Work) -> Result<CellResult> {
    let started = Instant::now();
    let (device, seed) = (work.context.device, work.context.seed);
    let images = RandomImages::new(cell, seed, device)?;
    let mut alone = Side::new(cell, &hard_targets::Spec {}.into(), seed, device)?;
    let before = memory::live();
    let mut own = Side::new(cell, &cell.method, seed, device)?;
    let (mut own_times, mut alone_times, mut peak) = (Vec::new(), Vec::new(), 0);
    for step in 0..cell.warm_up_steps + cell.steps {
        let of_alone = alone.step(cell, &images, seed, step)?;
        let (of_own, most) = memory::peak_of(|| own.step(cell, &images, seed, step));
        if step >= cell.warm_up_steps {
            alone_times.push(of_alone);
            own_times.push(of_own?);
            peak = peak.max(most.saturating_sub(before));
        }
    }
    let [own_time, alone_time] = [own_times, alone_times].map(median);
    let adapters = own.params.count() - own.params.without(PREFIX).count();
    let peak = peak as f64 / f64::from(1 << 20);
    let numbers = [own_time, alone_time, own_time / alone_time, peak, adapters as f64];
    let result = CellResult::of(METRICS, numbers);
    Ok(CellResult { seconds: started.elapsed().as_secs_f64(), ..result })
}

/// The middle one of the times, of which there is at least one.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A student with a method and its optimiser.
struct Side {
    teacher: Option<Teacher>,
    model: Box<dyn Model>,
    params: Params,
    method: Box<dyn Distillation>,
    recipe: TrainSpec,
    optimizer: Optimizer,
    device: Device,
}

impl Side {
    /// The student of `cell` with `method`, and the teacher where that needs one.
    fn new(cell: &CostCell, method: &MethodSpec, seed: Seed, device: &Device) -> Result<Self> {
        let precision = cell.conv.into();
        let teacher = method.needs_teacher().then(|| teacher(cell, seed, device)).transpose()?;
        let (params, vb) = Params::seeded(seed, device);
        let of_teacher = teacher.as_ref().map(|teacher| &**teacher.model());
        let student =
            method.student(NetworkSpec::from_name(&cell.student, CLASSES)?, of_teacher)?;
        let model = student.build_with(precision, vb.clone())?;
        let labels: Vec<u8> = (0..cell.images).map(|i| (i % CLASSES) as u8).collect();
        let method = {
            let context = Context::new(&*model, teacher.as_ref(), &labels, &params, &vb);
            method.build(&context.with_precision(precision))?
        };
        // It borrows what is moved below.
        drop(vb);
        let recipe = TrainSpec {
            epochs: 1,
            batch_size: 1,
            learning_rate: cell.learning_rate,
            schedule: Schedule::Constant {},
            warm_up_epochs: 0,
            optimizer: cell.optimizer.clone(),
            max_norm: 0.,
            average_epochs: 0,
        };
        let optimizer = Optimizer::new(&recipe.optimizer, None, &params)?;
        let device = device.clone();
        Ok(Self { teacher, model, params, method, recipe, optimizer, device })
    }

    /// Takes one step and returns its milliseconds.
    fn step(
        &mut self,
        cell: &CostCell,
        images: &RandomImages,
        seed: Seed,
        step: usize,
    ) -> Result<f64> {
        let Self { teacher, model, params, method, recipe, optimizer, device } = self;
        let fit = Fit {
            teacher: teacher.as_ref(),
            ..Fit::new(&**model, params, &**method, images, recipe, seed, device)
        };
        let draws = StepSeed { seed, epoch: 0, step };
        let started = Instant::now();
        let batch = [(step % images.len()) as u32];
        fit.step(optimizer, &batch, draws, cell.learning_rate)?;
        device.synchronize()?;
        Ok(1e3 * started.elapsed().as_secs_f64())
    }
}

/// The teacher, with initial weights and the running statistics that random images give it. With
/// those that it begins with, its values grow from block to block: those of `resnet56` are too
/// large for the losses that multiply them with each other, as `cc`'s.
fn teacher(cell: &CostCell, seed: Seed, device: &Device) -> Result<Teacher> {
    let spec = NetworkSpec::from_name(&cell.teacher, CLASSES)?;
    let (params, vb) = Params::seeded(seed, device);
    let model = spec.build_with(cell.conv.into(), vb)?;
    // Nobody looks at the running statistics of a teacher that normalises by the batch.
    let passes = match cell.teacher_statistics {
        TeacherStatistics::Running => SETTLING,
        TeacherStatistics::Batch => 0,
    };
    for pass in 0..passes {
        let draws = StepSeed { seed, epoch: 0, step: pass };
        let images = normal_images(SETTLING_IMAGES, draws, "cost.settling", device)?;
        model.forward(&images, &[], Mode::Train(draws))?;
    }
    let build = |vb| spec.build_with(cell.conv.into(), vb);
    let frozen = Frozen::build(params.snapshot()?, device, build)?;
    Ok(match cell.teacher_statistics {
        TeacherStatistics::Running => frozen,
        TeacherStatistics::Batch => frozen.with_batch_statistics(),
    })
}

/// Batches of normal numbers. A batch is one example of the set, so that [`Fit::step`] takes it
/// whole.
struct RandomImages(Vec<Batch>);

impl RandomImages {
    /// As many batches as differ, up to four.
    fn new(cell: &CostCell, seed: Seed, device: &Device) -> Result<Self> {
        let size = cell.batch_size;
        let batch = |part: usize| {
            let draws = StepSeed { seed, epoch: 0, step: part };
            let numbers: Vec<u32> = (part * size..(part + 1) * size).map(|i| i as u32).collect();
            let labels: Vec<u32> = numbers.iter().map(|i| i % CLASSES as u32).collect();
            Ok(Batch {
                inputs: normal_images(size, draws, "cost.images", device)?,
                labels: Tensor::new(labels, device)?,
                numbers,
                teacher_logits: None,
            })
        };
        Ok(Self((0..(cell.images / size).min(4)).map(batch).collect::<Result<_>>()?))
    }
}

/// Images of normal numbers.
fn normal_images(count: usize, draws: StepSeed, purpose: &str, device: &Device) -> Result<Tensor> {
    let mut values = vec![0f32; count * 3 * 32 * 32];
    draws.stream(purpose).fill_normal(0, &mut values);
    Ok(Tensor::from_vec(values, (count, 3, 32, 32), device)?)
}

impl Examples for RandomImages {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, rows: &[u32], _step: StepSeed, _device: &Device) -> Result<Batch> {
        let Batch { inputs, labels, numbers, .. } = &self.0[rows[0] as usize];
        let (inputs, labels, numbers) = (inputs.clone(), labels.clone(), numbers.clone());
        Ok(Batch { inputs, labels, numbers, teacher_logits: None })
    }

    /// Other random numbers: how long a step takes does not depend on what the images show.
    fn second_view(
        &self,
        rows: &[u32],
        _view: &StrongView,
        _step: StepSeed,
        _device: &Device,
    ) -> Result<Tensor> {
        Ok(self.0[(rows[0] as usize + 1) % self.0.len()].inputs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_teachers_values_are_of_the_size_of_a_trained_ones() -> Result<()> {
        let cell: CostCell = toml::from_str(
            r#"
            student = "resnet20"
            teacher = "resnet56"
            teacher-statistics = "running"
            conv = "fast"
            batch-size = 8
            images = 8
            warm-up-steps = 0
            steps = 1
            learning-rate = 1e-6
            method = { kind = "cc", weight = 0.02, width = 128, hard-weight = 1.0 }
            optimizer = { kind = "sgd", momentum = 0.9, nesterov = true, weight-decay = 0.0005 }
            "#,
        )
        .expect("a cell");
        let (seed, device) = (Seed(1), Device::Cpu);
        let images = RandomImages::new(&cell, seed, &device)?;
        let teacher = teacher(&cell, seed, &device)?;
        let taps = teacher.model().forward(&images.0[0].inputs, &["pooled"], Mode::Evaluate)?.taps;
        let largest = taps[0].abs()?.max_all()?.to_scalar::<f32>()?;
        assert!((0.1..100.).contains(&largest), "pooled: {largest}");
        Ok(())
    }
}
