//! Training of image networks in the loop: bit for bit the same when it is stopped in between, and
//! on any number of threads; and what a method sees of both networks there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use candle_core::{Device, Tensor};
use kd_core::frozen::{Frozen, Teacher};
use kd_core::method::hard_targets::HardTargets;
use kd_core::method::{Distillation, Step, Teaching, Term, Wants};
use kd_core::model::{Mode, NetworkSpec, Outputs};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::train::{Batch, EpochRecord, Examples, Fit, OptimizerSpec, Schedule, TrainSpec};
use kd_core::{Result, Seed};

use super::formula;

/// Eight images of noise, of three classes.
struct Noise;

impl Examples for Noise {
    fn len(&self) -> usize {
        8
    }

    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> Result<Batch> {
        let images = rows
            .iter()
            .map(|row| formula::images(1, "train", *row as usize))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let labels: Vec<u32> = rows.iter().map(|row| row % 3).collect();
        Ok(Batch {
            inputs: Tensor::cat(&images, 0)?,
            labels: Tensor::new(labels, device)?,
            numbers: rows.to_vec(),
            teacher_logits: None,
        })
    }
}

/// The bits of all parameters and running statistics after training; the run ends as if killed
/// after epoch `stop_after`.
fn train(
    name: &str,
    epochs: usize,
    average_epochs: usize,
    state: Option<PathBuf>,
    stop_after: usize,
) -> Result<BTreeMap<String, Vec<u32>>> {
    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    let model = NetworkSpec::from_name(name, 3)?.build(vb)?;
    let spec = TrainSpec {
        epochs,
        batch_size: 4,
        learning_rate: 0.05,
        schedule: Schedule::Cosine {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 },
        max_norm: 0.,
        average_epochs,
    };
    let method = HardTargets::default();
    let fit =
        Fit { state, ..Fit::new(&model, &params, &method, &Noise, &spec, Seed(3), &Device::Cpu) };
    let run = std::panic::AssertUnwindSafe(|| {
        fit.run(&mut |record: &EpochRecord| {
            assert!(record.epoch <= stop_after, "stopped as if killed")
        })
    });
    match std::panic::catch_unwind(run) {
        Ok(records) => assert_eq!(records?.len(), epochs),
        Err(_) => assert!(stop_after < epochs),
    }
    let bits = |t: &Tensor| -> Result<Vec<u32>> {
        Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
    };
    params.snapshot()?.iter().map(|(name, t)| Ok((name.clone(), bits(t)?))).collect()
}

#[test]
fn a_stopped_run_goes_on_to_the_same_weights_and_running_statistics_bit_for_bit() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    for average_epochs in [0, 3] {
        let whole = train("resnet8", 4, average_epochs, None, 4)?;
        let state = dir.path().join(format!("{average_epochs}.safetensors"));
        train("resnet8", 4, average_epochs, Some(state.clone()), 2)?;
        assert!(state.exists());
        assert_eq!(whole, train("resnet8", 4, average_epochs, Some(state), 4)?);
    }
    Ok(())
}

#[test]
fn training_does_not_depend_on_the_number_of_threads() -> Result<()> {
    for name in ["resnet8", "wrn-16-1", "mobilenet-v2", "shufflenet-v2"] {
        let on = |threads: usize| -> Result<BTreeMap<String, Vec<u32>>> {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| train(name, 1, 0, None, 1))
        };
        let one = on(1)?;
        assert!(on(3)? == one, "{name}");
    }
    Ok(())
}

/// A method that keeps what it sees of a step: the images' numbers, and the outputs of student and
/// teacher.
struct Recording {
    wants: Wants,
    seen: Mutex<Vec<Seen>>,
}

/// Numbers of images; logits and taps of student and teacher.
type Seen = (Vec<u32>, [Vec<Vec<f64>>; 2]);

/// Logits and taps.
fn flat(outputs: &Outputs) -> Result<Vec<Vec<f64>>> {
    [&outputs.logits].into_iter().chain(&outputs.taps).map(|t| Ok(formula::values(t)?)).collect()
}

impl Distillation for Recording {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (step.student()?, step.teacher()?);
        let seen = (step.numbers.to_vec(), [flat(student)?, flat(teacher)?]);
        self.seen.lock().expect("a lock").push(seen);
        let gap = (&student.logits - &teacher.logits)?.sqr()?.mean_all()?;
        Ok(vec![Term::teacher("logits", gap, 1.)])
    }
}

/// A teacher whose running statistics are not those of a batch.
fn teacher() -> Result<Teacher> {
    let (params, vb) = Params::seeded(Seed(5), &Device::Cpu);
    let spec = NetworkSpec::from_name("resnet14", 3)?;
    spec.build(vb)?;
    Frozen::build(params.snapshot()?, &Device::Cpu, |vb| spec.build(vb))
}

#[test]
fn a_method_sees_the_taps_that_it_wants_of_both_networks_on_the_images_of_the_step() -> Result<()> {
    let (student_taps, teacher_taps) = (["stage2.pre", "pooled"], ["stage3", "stem"]);
    let owned = |taps: [&str; 2]| taps.map(str::to_owned).to_vec();
    let mut trained = Vec::new();
    for mode in [Mode::Evaluate, Mode::BatchStatistics] {
        let teacher = match mode {
            Mode::BatchStatistics => teacher()?.with_batch_statistics(),
            _ => teacher()?,
        };
        let spec = TrainSpec {
            epochs: 1,
            batch_size: 8,
            learning_rate: 0.05,
            schedule: Schedule::Constant {},
            warm_up_epochs: 0,
            optimizer: OptimizerSpec::Sgd { momentum: 0., nesterov: false, weight_decay: 0. },
            max_norm: 0.,
            average_epochs: 0,
        };
        let method = Recording {
            wants: Wants {
                student_taps: owned(student_taps),
                teaching: Teaching::Live { taps: owned(teacher_taps) },
                ..Wants::default()
            },
            seen: Mutex::default(),
        };
        let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
        let model = NetworkSpec::from_name("resnet8", 3)?.build(vb)?;
        let fit = Fit {
            teacher: Some(&teacher),
            ..Fit::new(&model, &params, &method, &Noise, &spec, Seed(3), &Device::Cpu)
        };
        fit.run(&mut ())?;

        let seen = method.seen.into_inner().expect("a lock");
        let [(rows, [of_student, of_teacher])] = &seen[..] else { panic!("one step") };
        let draws = StepSeed { seed: Seed(3), epoch: 0, step: 0 };
        let images = Noise.batch(rows, draws, &Device::Cpu)?.inputs;
        // The student as it was before its step.
        let (_, vb) = Params::seeded(Seed(3), &Device::Cpu);
        let student = NetworkSpec::from_name("resnet8", 3)?.build(vb)?;
        assert_eq!(
            *of_student,
            flat(&student.forward(&images, &student_taps, Mode::Train(draws))?)?
        );
        assert_eq!(*of_teacher, flat(&teacher.model().forward(&images, &teacher_taps, mode)?)?);
        trained.push((of_teacher.clone(), params.snapshot()?["fc.bias"].to_vec1::<f32>()?));
    }
    let [(running, by_running), (batch, by_batch)] = &trained[..] else { panic!("two teachers") };
    for (running, batch) in running.iter().zip(batch) {
        assert_ne!(running, batch, "the modes are told apart in the logits and in both taps");
    }
    assert_ne!(by_running, by_batch);
    Ok(())
}
