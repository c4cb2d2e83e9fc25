//! A temperature that is learnt against the student.

use candle_core::{Tensor, Var};
use kd_core::Result;
use kd_core::loss::softened_kl;
use kd_core::method::{Recipe, Step};

use super::on_logits::{HARD, golden_labels, golden_outputs, spec, terms_are};
use super::{Pair, formula, step};

const TOML: &str = "kind = 'ctkd'\nleast-temperature = 1.0\nspan = 20.0\nstart = 1.0\nreversal-epochs = 10\nsoft-weight = 0.9\nhard-weight = 0.1\n";

/// The temperature at this θ.
fn temperature(theta: f64) -> f64 {
    1. + 20. / (1. + (-theta).exp())
}

fn theta(pair: &Pair) -> Var {
    pair.params.get("method.theta").expect("a variable")
}

/// The gradient of θ by the soft term at this epoch; `None` without one.
fn gradient(epoch: usize) -> Result<f64> {
    let pair = Pair::new("resnet8", "resnet8")?;
    let method = pair.build(&spec(TOML))?;
    let [student, teacher] = golden_outputs()?;
    let labels = golden_labels()?;
    let step = Step { epoch, ..step(&student, &teacher, &labels, &[0, 1, 2, 3]) };
    let terms = method.terms(&step)?;
    let grads = kd_kernels::backward(&terms[1].value)?;
    Ok(formula::values(grads.get(theta(&pair).as_tensor()).expect("a gradient"))?[0])
}

#[test]
fn it_begins_with_soft_targets_at_the_temperature_of_its_start() -> Result<()> {
    let [student, teacher] = golden_outputs()?;
    let soft = softened_kl(&student.logits, &teacher.logits, temperature(1.))?;
    assert!((formula::values(&soft)?[0] - 6.347536020262342).abs() < 1e-4);
    terms_are(TOML, &[("hard", 0.1, HARD), ("soft", 0.9, 6.347536020262342)])?;
    let standardised = softened_kl(
        &kd_core::loss::standardised(&student.logits)?,
        &kd_core::loss::standardised(&teacher.logits)?,
        temperature(1.),
    )?;
    terms_are(
        &format!("{TOML}standardised = true\n"),
        &[("hard", 0.1, HARD), ("soft", 0.9, formula::values(&standardised)?[0])],
    )
}

#[test]
fn the_temperatures_gradient_is_reversed_more_and_more_over_the_first_epochs() -> Result<()> {
    let [student, teacher] = golden_outputs()?;
    let (s, t) = (student.logits.to_dtype(candle_core::DType::F64)?, teacher.logits);
    let t = t.to_dtype(candle_core::DType::F64)?;
    let loss = |theta: f64| -> Result<f64> {
        Ok(softened_kl(&s, &t, temperature(theta))?.to_scalar::<f64>()?)
    };
    let slope = (loss(1. + 1e-4)? - loss(1. - 1e-4)?) / 2e-4;
    assert!(slope.abs() > 1e-3);
    for (epoch, strength) in [(0, 0.024471741852423234), (4, 0.5), (9, 1.), (200, 1.)] {
        let expected = -strength * slope;
        let got = gradient(epoch)?;
        assert!((got - expected).abs() < 1e-3 * slope.abs(), "{epoch}: {got}, expected {expected}");
    }
    Ok(())
}

#[test]
fn a_step_of_descent_makes_the_loss_larger() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet8")?;
    let method = pair.build(&spec(TOML))?;
    let [student, teacher] = golden_outputs()?;
    let labels = golden_labels()?;
    let step = Step { epoch: 20, ..step(&student, &teacher, &labels, &[0, 1, 2, 3]) };
    let soft = || -> Result<Tensor> { Ok(method.terms(&step)?.remove(1).value) };
    let before = soft()?;
    let gradient = kd_kernels::backward(&before)?;
    let theta = theta(&pair);
    let moved =
        (theta.as_tensor() - (gradient.get(theta.as_tensor()).expect("a gradient") * 10.)?)?;
    theta.set(&moved.detach())?;
    let (before, after) = (formula::values(&before)?[0], formula::values(&soft()?)?[0]);
    assert!(after > before + 1e-3, "{before} {after}");
    Ok(())
}

#[test]
fn what_makes_no_temperature_is_refused_by_name() {
    for (from, to, part) in [
        ("span = 20.0", "span = -0.5", "method.span"),
        ("span = 20.0", "span = nan", "temperature"),
        ("start = 1.0", "start = 1e3", "method.start"),
        ("least-temperature = 1.0", "least-temperature = 0.0", "temperature"),
        ("reversal-epochs = 10", "reversal-epochs = 10000000", "method.reversal-epochs"),
        ("soft-weight = 0.9", "soft-weight = -0.9", "soft-weight"),
    ] {
        let spec = spec(&TOML.replace(from, to));
        let Err(error) = spec.check() else { panic!("{spec:?} was accepted") };
        assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
    }
}
