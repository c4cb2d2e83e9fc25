//! Norm and direction beside another method: the adapter and its gradients beside PyTorch, the
//! terms of the base, and the centres, which are made of the training images before the first step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::Seed;
use kd_core::loss::norm_and_direction;
use kd_core::method::{
    Context, Distillation, MethodSpec, Pull, Recipe, at, dkd, hard_targets, nd, review,
    soft_targets,
};
use kd_core::model::{LAST, Model, Outputs};
use kd_core::seed::StepSeed;
use kd_core::train::{
    Batch, EpochRecord, Examples, Fit, Observer, OptimizerSpec, Schedule, StepRecord, TrainSpec,
};

use super::newer_feature_losses::golden;
use super::wiring::number;
use super::{Pair, adapters, formula, step};

fn beside(base: impl Into<MethodSpec>, warm_up_epochs: usize) -> MethodSpec {
    let base = Box::new(base.into());
    nd::Spec { weight: 1., warm_up_epochs, dropout: 0., base }.into()
}

#[test]
fn nds_term_and_gradients_are_pytorchs() -> Result<()> {
    let spec = beside(hard_targets::Spec {}, 0);
    adapters::agrees(spec, &["hard", "norm-direction"], &golden()["nd"])
}

fn review() -> review::Spec {
    let toml = "weight = 0.6\nwarm-up-epochs = 0\nhard-weight = 1.0\nstructure = 'residual'\nfusion = 'attention'\ndistance = 'hierarchical'\nchannels = 512\nstudent-taps = 'after'\nteacher-taps = 'before'\n";
    toml::from_str(toml).expect("a specification")
}

/// Outputs of the networks with all that a method wants of them.
fn outputs(pair: &Pair, method: &dyn Distillation) -> Result<[Outputs; 2]> {
    let images = formula::images(4, "images", 0)?;
    let wants = method.wants();
    let names = |taps: &[String]| taps.iter().map(String::clone).collect::<Vec<_>>();
    let taught = match &wants.teaching {
        kd_core::method::Teaching::Live { taps } => names(taps),
        _ => Vec::new(),
    };
    let of = |network: &dyn Model, taps: &[String]| {
        let taps: Vec<&str> = taps.iter().map(String::as_str).collect();
        network.forward(&images, &taps, kd_core::model::Mode::Evaluate)
    };
    Ok([of(&*pair.student, &wants.student_taps)?, of(&**pair.teacher.model(), &taught)?])
}

#[test]
fn the_terms_are_those_of_the_base_whose_teacher_pulls_more_by_the_epoch_and_norm_and_direction()
-> Result<()> {
    let kd = soft_targets::Spec {
        temperature: 4.,
        soft_weight: 3.5,
        hard_weight: 1.,
        ..Default::default()
    };
    let dkd: MethodSpec = dkd::Spec {
        temperature: 4.,
        alpha: 2.,
        beta: 8.,
        warm_up_epochs: 0,
        hard_weight: 1.,
        soft: None,
        standardised: false,
    }
    .into();
    let at = at::Spec { weight: 1000., hard_weight: 1., soft: None };
    let bases: [MethodSpec; 4] = [kd.into(), dkd, review().into(), at.into()];
    let labels = Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu)?;
    for base in bases {
        let pair = Pair::new("resnet8", "resnet14")?;
        let alone = pair.build(&base)?;
        let joined = pair.build(&beside(base.clone(), 20))?;
        let centres = pair.params.get("method.nd.centres").expect("a buffer");
        centres.set(&formula::value("centres", centres.dims())?)?;
        let ([s, t], [own_s, own_t]) = (outputs(&pair, &*joined)?, outputs(&pair, &*alone)?);
        let numbers = [5, 6, 7, 8];
        let expected = alone.terms(&step(&own_s, &own_t, &labels, &numbers))?;
        // The second epoch, counted from 0: a twentieth of the teacher's pull.
        let terms = joined.terms(&step(&s, &t, &labels, &numbers))?;
        assert_eq!(terms.len(), expected.len() + 1, "{base:?}");
        for (term, expected) in terms.iter().zip(&expected) {
            assert_eq!((term.name, term.pull), (expected.name, expected.pull), "{base:?}");
            let rise = if term.pull == Pull::Teacher { 0.05 } else { 1. };
            assert!((term.weight - rise * expected.weight).abs() < 1e-12, "{base:?}");
            let (got, expected) = (number(&term.value)?, number(&expected.value)?);
            assert!((got - expected).abs() <= 1e-5 * expected.abs(), "{got}, expected {expected}");
        }
        let own = terms.last().expect("terms");
        let images = formula::images(4, "images", 0)?;
        let [s, t] = [&pair.student, pair.teacher.model()]
            .map(|network| network.forward(&images, &["pooled"], kd_core::model::Mode::Evaluate));
        let expected =
            number(&norm_and_direction(&s?.taps[0], &t?.taps[0], centres.as_tensor(), &labels)?)?;
        let got = number(&own.value)?;
        assert_eq!((own.name, own.weight, own.pull), ("norm-direction", 1., Pull::Teacher));
        assert!((got - expected).abs() < 1e-5, "{got}, expected {expected}");
    }
    Ok(())
}

#[test]
fn what_the_adapter_drops_is_a_function_of_the_step() -> Result<()> {
    let base = Box::new(hard_targets::Spec {}.into());
    let spec = nd::Spec { weight: 1., warm_up_epochs: 0, dropout: 0.5, base };
    let pair = Pair::new("resnet8", "resnet8x4")?;
    let method = pair.build(&spec.into())?;
    let centres = pair.params.get("method.nd.centres").expect("a buffer");
    centres.set(&formula::value("centres", centres.dims())?)?;
    let [s, t] = outputs(&pair, &*method)?;
    let labels = Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu)?;
    let at = |n: usize| -> Result<f64> {
        let mut step = step(&s, &t, &labels, &[5, 6, 7, 8]);
        step.draws.step = n;
        number(&method.terms(&step)?[1].value)
    };
    assert_eq!(at(0)?, at(0)?);
    assert_ne!(at(0)?, at(1)?);
    Ok(())
}

#[test]
fn a_base_that_is_nd_itself_or_outside_its_domain_is_refused() {
    let hard = || hard_targets::Spec {};
    let with = |weight, dropout| nd::Spec {
        weight,
        warm_up_epochs: 0,
        dropout,
        base: Box::new(hard().into()),
    };
    let kd = soft_targets::Spec {
        temperature: 0.,
        soft_weight: 1.,
        hard_weight: 1.,
        ..Default::default()
    };
    let cases: [(MethodSpec, &str); 5] = [
        (with(-1., 0.).into(), "method.weight: "),
        (with(1., 1.).into(), "method.dropout: "),
        (with(1., f64::NAN).into(), "method.dropout: "),
        (beside(beside(hard(), 0), 0), "method.base: expected another method than nd"),
        (beside(kd, 0), "temperature"),
    ];
    for (spec, part) in cases {
        let error = spec.check().expect_err("refused");
        assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
    }
}

/// Ten images of four classes; in a batch they are turned into their negatives, as a strong
/// augmentation would.
struct Images {
    plain: bool,
    passed: Mutex<Vec<u32>>,
}

const COUNT: usize = 10;

fn label(row: u32) -> u32 {
    row % 4
}

impl Images {
    fn inputs(&self, rows: &[u32], sign: f64) -> Result<Tensor> {
        let all = (formula::images(COUNT, "training", 0)? * sign)?;
        Ok(all.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?)
    }

    fn of(&self, rows: &[u32], inputs: Tensor) -> Result<Batch> {
        let labels = rows.iter().map(|&row| label(row)).collect::<Vec<_>>();
        let labels = Tensor::new(labels, &Device::Cpu)?;
        Ok(Batch { inputs, labels, numbers: rows.to_vec(), teacher_logits: None })
    }
}

impl Examples for Images {
    fn len(&self) -> usize {
        COUNT
    }

    fn batch(&self, rows: &[u32], _: StepSeed, _: &Device) -> Result<Batch> {
        self.of(rows, self.inputs(rows, -1.)?)
    }

    fn plain(&self, rows: &[u32], device: &Device) -> Result<Batch> {
        if !self.plain {
            return NotPlain.plain(rows, device);
        }
        self.passed.lock().expect("a list").extend(rows);
        self.of(rows, self.inputs(rows, 1.)?)
    }
}

/// Examples that say nothing of how they are without augmentation.
struct NotPlain;

impl Examples for NotPlain {
    fn len(&self) -> usize {
        0
    }

    fn batch(&self, _: &[u32], _: StepSeed, _: &Device) -> Result<Batch> {
        unreachable!("no batch is asked for")
    }
}

fn recipe() -> TrainSpec {
    TrainSpec {
        epochs: 2,
        batch_size: 4,
        learning_rate: 0.01,
        schedule: Schedule::Constant {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 },
        max_norm: 0.,
        average_epochs: 0,
    }
}

/// The method for the pair and these images, with the labels of all of them.
fn method(pair: &Pair, labels: &[u8]) -> Result<Box<dyn Distillation>> {
    let kd = soft_targets::Spec {
        temperature: 4.,
        soft_weight: 1.,
        hard_weight: 1.,
        ..Default::default()
    };
    beside(kd, 0).build(&Context::new(
        &*pair.student,
        Some(&pair.teacher),
        labels,
        &pair.params,
        &pair.vb,
    ))
}

fn labels() -> Vec<u8> {
    (0..COUNT as u32).map(|row| label(row) as u8).collect()
}

/// The means of the teacher's pooled vectors, class by class.
fn means(pair: &Pair, images: &Images) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for class in 0..10 {
        let rows: Vec<u32> = (0..COUNT as u32).filter(|&row| label(row) == class).collect();
        if rows.is_empty() {
            all.extend([0.; 64]);
            continue;
        }
        let out = pair.teacher.forward(&images.inputs(&rows, 1.)?, &["pooled"])?;
        all.extend(formula::values(&out.taps[0].mean(0)?)?);
    }
    Ok(all)
}

/// Ends the run after so many questions.
struct Stops(RefCell<usize>);

impl Observer for Stops {
    fn step(&mut self, _: StepRecord) {}

    fn epoch(&mut self, _: &EpochRecord) {}

    fn stops(&mut self) -> bool {
        let left = &mut *self.0.borrow_mut();
        *left = left.saturating_sub(1);
        *left == 0
    }
}

#[test]
fn the_centres_are_the_classes_means_of_the_images_as_they_are_and_a_resumed_run_keeps_them()
-> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let images = Images { plain: true, passed: Mutex::default() };
    let (recipe, labels) = (recipe(), labels());
    let run = |pair: &Pair, state: &str, observer: &mut dyn Observer| -> Result<()> {
        let method = method(pair, &labels)?;
        let fit = Fit {
            teacher: Some(&pair.teacher),
            state: Some(dir.path().join(state)),
            ..Fit::new(
                &*pair.student,
                &pair.params,
                &*method,
                &images,
                &recipe,
                Seed(1),
                &Device::Cpu,
            )
        };
        fit.run(observer).map(drop)
    };
    let bits = |pair: &Pair| -> Result<BTreeMap<String, Vec<f64>>> {
        pair.params.snapshot()?.iter().map(|(n, t)| Ok((n.clone(), formula::values(t)?))).collect()
    };
    let passed = || std::mem::take(&mut *images.passed.lock().expect("a list"));
    let whole = Pair::new("resnet8", "resnet14")?;
    run(&whole, "whole", &mut ())?;
    assert_eq!(passed(), (0..COUNT as u32).collect::<Vec<_>>(), "each passes once, in order");
    let centres = whole.params.get("method.nd.centres").expect("a buffer");
    assert!(whole.params.buffers().iter().any(|(name, _)| name == "method.nd.centres"));
    let expected = means(&whole, &images)?;
    for (got, expected) in formula::values(&centres)?.iter().zip(&expected) {
        assert!((got - expected).abs() < 1e-5, "{got}, expected {expected}");
    }
    assert!(expected.iter().any(|x| *x > 1e-2));

    // Asked to stop while the images pass: it ends before the first step, and begins again.
    let resumed = Pair::new("resnet8", "resnet14")?;
    let stopped = run(&resumed, "killed", &mut Stops(RefCell::new(2))).expect_err("stopped");
    assert_eq!(stopped.to_string(), "stopped at epoch 1, step 0");
    assert_eq!(passed(), [0, 1, 2, 3]);
    // Three batches pass, then two steps are taken.
    let stopped = run(&resumed, "killed", &mut Stops(RefCell::new(5))).expect_err("stopped");
    assert_eq!(stopped.to_string(), "stopped at epoch 1, step 2");
    assert_eq!(passed().len(), COUNT);
    let resumed = Pair::new("resnet8", "resnet14")?;
    run(&resumed, "killed", &mut ())?;
    assert_eq!(passed(), [0u32; 0], "a resumed run surveys nothing");
    assert!(bits(&resumed)? == bits(&whole)?, "the resumed run ends elsewhere");
    Ok(())
}

#[test]
fn a_second_phase_makes_its_centres_anew() -> Result<()> {
    let images = Images { plain: true, passed: Mutex::default() };
    let (recipe, labels) = (recipe(), labels());
    let pair = Pair::new("resnet8", "resnet14")?;
    for _ in 0..2 {
        let method = method(&pair, &labels)?;
        let fit = Fit {
            teacher: Some(&pair.teacher),
            ..Fit::new(
                &*pair.student,
                &pair.params,
                &*method,
                &images,
                &recipe,
                Seed(1),
                &Device::Cpu,
            )
        };
        fit.run(&mut ())?;
        let centres = pair.params.get("method.nd.centres").expect("a buffer");
        for (got, expected) in formula::values(&centres)?.iter().zip(means(&pair, &images)?) {
            assert!((got - expected).abs() < 1e-5, "{got}, expected {expected}");
        }
    }
    Ok(())
}

#[test]
fn examples_that_cannot_be_had_plain_and_missing_labels_are_refused_in_one_line() -> Result<()> {
    for (plain, labels, part) in [
        (false, labels(), "examples: expected some that can be had without augmentation"),
        (true, Vec::new(), "nd: expected the labels of all training images, got none of class 0"),
    ] {
        let images = Images { plain, passed: Mutex::default() };
        let pair = Pair::new("resnet8", "resnet14")?;
        let (recipe, method) = (recipe(), method(&pair, &labels)?);
        let fit = Fit {
            teacher: Some(&pair.teacher),
            ..Fit::new(
                &*pair.student,
                &pair.params,
                &*method,
                &images,
                &recipe,
                Seed(1),
                &Device::Cpu,
            )
        };
        let error = fit.run(&mut ()).expect_err("refused");
        assert!(error.is_bad_input() && error.to_string().starts_with(part), "{error}");
    }
    let pair = Pair::new("resnet8", "resnet14")?;
    let error = method(&pair, &[10]).err().expect("refused").to_string();
    assert_eq!(error, "nd: expected labels below 10, got 10");
    assert!(pair.student.tap(LAST).is_ok());
    Ok(())
}
