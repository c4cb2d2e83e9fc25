//! Multi-level logit distillation: its terms and gradients beside PyTorch's, and the second view
//! that a step shows to both networks.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use kd_core::data::{CropFlip, LabelledImages, Normalisation, NormalisedExamples, StrongView};
use kd_core::method::{MethodSpec, Recipe, SecondView, mlkd};
use kd_core::model::{Mode, Model, Outputs};
use kd_core::seed::StepSeed;
use kd_core::train::{
    Batch, Examples, Fit, Optimizer, OptimizerSpec, Schedule, TermValue, TrainSpec,
};
use kd_core::{Result, Seed};

use super::newer_feature_losses::golden;
use super::wiring::number;
use super::{Pair, formula, step};

const VIEW: StrongView = StrongView { operations: 2, cutout: 0.5 };

fn spec() -> mlkd::Spec {
    let temperatures = vec![4., 3., 5., 2., 6.];
    mlkd::Spec { temperatures, weight: 0.9, hard_weight: 0.1, view: VIEW, standardised: false }
}

/// scale · sin(a·i + b) of 4 × 10 logits.
fn wave(a: f64, b: f64, scale: f64) -> Result<Tensor> {
    let values: Vec<f32> = (0..40).map(|i| (scale * (a * f64::from(i) + b).sin()) as f32).collect();
    Ok(Tensor::from_vec(values, (4, 10), &Device::Cpu)?)
}

#[test]
fn mlkds_loss_and_gradients_on_both_views_are_pytorchs() -> Result<()> {
    is_pytorchs(spec(), "mlkd")
}

#[test]
fn mlkds_loss_of_standardised_logits_is_pytorchs() -> Result<()> {
    let temperatures = vec![2., 3., 5., 2., 6.];
    is_pytorchs(mlkd::Spec { temperatures, standardised: true, ..spec() }, "mlkd_ls")
}

fn is_pytorchs(spec: mlkd::Spec, case: &str) -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.build(&spec.into())?;
    let (w, s) = (Var::from_tensor(&wave(0.7, 0.1, 3.)?)?, Var::from_tensor(&wave(0.9, 0.4, 3.)?)?);
    let of = |logits: Tensor| Outputs { logits, taps: Vec::new() };
    let (first, second) = (of(w.as_tensor().clone()), of(s.as_tensor().clone()));
    let (teacher, of_second) = (of(wave(1.3, 0.5, 4.)?), of(wave(1.1, 0.2, 4.)?));
    let labels = Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu)?;
    let mut step = step(&first, &teacher, &labels, &[0; 4]);
    step.second = Some(SecondView { student: &second, teacher: &of_second });
    let terms = method.terms(&step)?;
    let golden = golden()[case].clone();
    let mut loss = Tensor::new(0f32, &Device::Cpu)?;
    for (term, weight) in terms.iter().zip([0.1, 0.9, 0.9, 0.9]) {
        assert_eq!(term.weight, weight);
        let (got, wanted) = (number(&term.value)?, golden["terms"][term.name].as_f64());
        let wanted = wanted.expect("a term of this name");
        assert!((got - wanted).abs() < 3e-5 * wanted, "{}: {got}, expected {wanted}", term.name);
        loss = (loss + (&term.value * weight)?)?;
    }
    assert_eq!(terms.len(), 4);
    let gradients = kd_kernels::backward(&loss)?;
    for (var, name) in [(&w, "first"), (&s, "second")] {
        let got = formula::values(gradients.get(var).expect("a gradient"))?;
        let wanted = formula::numbers(&golden["grads"][name]);
        let size = wanted.iter().fold(0f64, |m, g| m.max(g.abs()));
        for (got, wanted) in got.iter().zip(&wanted) {
            assert!((got - wanted).abs() < 1e-4 * size, "{name}: {got}, expected {wanted}");
        }
    }
    Ok(())
}

/// Eight generated images.
fn images() -> LabelledImages {
    let stream = Seed(1).stream("images", 0, 0);
    let bytes = (0..8 * 3 * 32 * 32).map(|i| stream.u32_at(i) as u8).collect();
    let labels = (0..8).map(|i| i % 10).collect();
    LabelledImages { channels: 3, ..LabelledImages::grey(bytes, labels, 32, 32, 10) }
}

fn recipe() -> TrainSpec {
    TrainSpec {
        epochs: 1,
        batch_size: 4,
        learning_rate: 0.01,
        schedule: Schedule::Constant {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4 },
        max_norm: 0.,
        average_epochs: 0,
    }
}

#[test]
fn a_step_shows_both_networks_a_second_view_of_its_own_draws_in_a_second_pass() -> Result<()> {
    let images = images();
    let examples = NormalisedExamples {
        images: &images,
        rows: (0..8).collect(),
        normalisation: Normalisation::Crd,
        augmentation: CropFlip { padding: 4, flip: true },
        views: None,
    };
    let (rows, recipe) = ([5u32, 0, 7, 2], recipe());
    let draws = StepSeed { seed: Seed(2), epoch: 0, step: 3 };
    let taken = |pair: &Pair| -> Result<Vec<TermValue>> {
        let method = pair.build(&spec().into())?;
        let fit = Fit {
            teacher: Some(&pair.teacher),
            ..Fit::new(
                &*pair.student,
                &pair.params,
                &*method,
                &examples,
                &recipe,
                Seed(2),
                &Device::Cpu,
            )
        };
        let mut optimizer = Optimizer::new(&recipe.optimizer, None, &pair.params)?;
        fit.step(&mut optimizer, &rows, draws, 0.)
    };
    let pair = Pair::new("resnet8", "resnet14")?;
    let found = taken(&pair)?;
    let moved = |pair: &Pair| -> Result<BTreeMap<String, Vec<f64>>> {
        pair.params.buffers().iter().map(|(n, v)| Ok((n.clone(), formula::values(v)?))).collect()
    };
    // The same by hand: a pass over the batch, and one over the second view.
    let other = Pair::new("resnet8", "resnet14")?;
    let method = other.build(&spec().into())?;
    let batch = examples.batch(&rows, draws, &Device::Cpu)?;
    let view = examples.second_view(&rows, &VIEW, draws, &Device::Cpu)?;
    let student = other.student.forward(&batch.inputs, &[], Mode::Train(draws))?;
    let after_one = moved(&other)?;
    let on_second = other.student.forward(&view, &[], Mode::Train(draws.of_second_view()))?;
    let (teacher, of_second) =
        (other.teacher.forward(&batch.inputs, &[])?, other.teacher.forward(&view, &[])?);
    let mut step = step(&student, &teacher, &batch.labels, &batch.numbers);
    step.second = Some(SecondView { student: &on_second, teacher: &of_second });
    let terms = method.terms(&step)?;
    assert_eq!(found.len(), terms.len());
    for (found, term) in found.iter().zip(&terms) {
        let expected = number(&term.value)?;
        assert_eq!((found.name, found.weight), (term.name, term.weight));
        let got = f64::from(found.value);
        assert!((got - expected).abs() <= 1e-5 * expected.abs(), "{}: {got} {expected}", term.name);
    }
    assert_eq!(moved(&pair)?, moved(&other)?, "running statistics move in both passes");
    assert_ne!(moved(&pair)?, after_one);
    Ok(())
}

/// Examples with no second view.
struct Single(Batch);

impl Examples for Single {
    fn len(&self) -> usize {
        4
    }

    fn batch(&self, _: &[u32], _: StepSeed, _: &Device) -> Result<Batch> {
        let Batch { inputs, labels, numbers, .. } = &self.0;
        let (inputs, labels, numbers) = (inputs.clone(), labels.clone(), numbers.clone());
        Ok(Batch { inputs, labels, numbers, teacher_logits: None })
    }
}

#[test]
fn examples_and_batches_without_a_second_view_are_refused_in_one_line() -> Result<()> {
    let labels = Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu)?;
    let inputs = formula::images(4, "images", 0)?;
    let examples =
        Single(Batch { inputs, labels, numbers: vec![0, 1, 2, 3], teacher_logits: None });
    let (pair, recipe) = (Pair::new("resnet8", "resnet14")?, recipe());
    let method = pair.build(&spec().into())?;
    let fit = Fit {
        teacher: Some(&pair.teacher),
        ..Fit::new(
            &*pair.student,
            &pair.params,
            &*method,
            &examples,
            &recipe,
            Seed(2),
            &Device::Cpu,
        )
    };
    let error = fit.run(&mut ()).expect_err("refused");
    assert!(error.is_bad_input() && error.to_string().contains("with a second view"), "{error}");
    let mut optimizer = Optimizer::new(&recipe.optimizer, None, &pair.params)?;
    let draws = StepSeed { seed: Seed(2), epoch: 0, step: 0 };
    let error = fit.step_on(&mut optimizer, &examples.0, draws, 0.1).expect_err("refused");
    assert_eq!(error.to_string(), "method: this step has no second view");
    Ok(())
}

#[test]
fn numbers_outside_their_domain_are_refused_by_name() {
    let cases: [(mlkd::Spec, &str); 5] = [
        (mlkd::Spec { temperatures: vec![4., 3.], ..spec() }, "method.temperatures: "),
        (mlkd::Spec { temperatures: vec![4., 3., 0.], ..spec() }, "temperature"),
        (mlkd::Spec { weight: f64::NAN, ..spec() }, "method.weight: "),
        (mlkd::Spec { hard_weight: -1., ..spec() }, "method.hard-weight: "),
        (mlkd::Spec { view: StrongView { operations: 2, cutout: 2. }, ..spec() }, "view.cutout: "),
    ];
    for (spec, part) in cases {
        let error = spec.check().expect_err("refused");
        assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
    }
    let text = toml::to_string(&MethodSpec::from(spec())).expect("TOML");
    assert_eq!(toml::from_str::<MethodSpec>(&text).expect("a method"), spec().into());
}
