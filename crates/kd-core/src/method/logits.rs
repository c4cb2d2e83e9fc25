//! What most methods add to their own term: the labels, and softened targets where they are joined
//! with those.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::interface::{Step, Term};
use crate::loss::{cross_entropy, softened_kl, standardised};
use crate::{Error, Result};

/// Softened targets beside a method's own term ("+KD" in the literature's tables), as an experiment
/// file writes them: `soft = { temperature = 4.0, weight = 1.0 }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Soft {
    /// The temperature T of both softmaxes.
    pub temperature: f64,
    /// Weight of the divergence from the teacher, which already carries T².
    pub weight: f64,
}

/// The terms on the logits. `hard`: cross-entropy with the labels at T = 1, mean over the batch.
/// `soft`, if there is one: [`softened_kl`] from the teacher's logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitTerms {
    /// Weight of `hard`; at 0 it is left out.
    pub hard_weight: f64,
    /// The softened targets.
    pub soft: Option<Soft>,
}

impl LogitTerms {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        check_weight("hard-weight", self.hard_weight)?;
        if let Some(Soft { temperature, weight }) = self.soft {
            check_temperature(temperature)?;
            check_weight("soft.weight", weight)?;
        }
        Ok(())
    }

    /// The terms of one step, `hard` first.
    ///
    /// # Errors
    /// When the step has no student, or none of the teacher's logits where there is `soft`.
    pub fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let logits = &step.student()?.logits;
        let mut terms = Vec::new();
        if self.hard_weight != 0. {
            terms.push(Term::task("hard", cross_entropy(logits, step.labels)?, self.hard_weight));
        }
        if let Some(Soft { temperature, weight }) = self.soft {
            terms.push(Term::teacher(
                "soft",
                softened_kl(logits, &step.teacher()?.logits, temperature)?,
                weight,
            ));
        }
        Ok(terms)
    }
}

/// The logits of student and teacher that a loss compares: those of the step, or their
/// [`standardised`] form.
///
/// # Errors
/// When the step lacks either, or standardised ones have fewer than 2 classes.
pub(super) fn compared(step: &Step, standardise: bool) -> Result<(Tensor, Tensor)> {
    let (student, teacher) = (&step.student()?.logits, &step.teacher()?.logits);
    if standardise {
        return Ok((standardised(student)?, standardised(&teacher.detach())?));
    }
    Ok((student.clone(), teacher.clone()))
}

/// The share of a weight that rises linearly from 0 over the first `warm_up` epochs, at `epoch`,
/// counted from 0: min(1, epoch / warm_up), and 1 where there is no warm-up.
pub fn rise(epoch: usize, warm_up: usize) -> f64 {
    if warm_up == 0 { 1. } else { (epoch as f64 / warm_up as f64).min(1.) }
}

/// Checks a number of epochs over which a weight rises: at most 1,000,000.
///
/// # Errors
/// Bad input that says what it must be and what it is.
pub(super) fn check_warm_up(epochs: usize) -> Result<()> {
    Error::unless_within("method.warm-up-epochs", epochs, 0..=1_000_000)
}

/// Checks a weight of a term: finite and at least 0.
///
/// # Errors
/// Bad input that names it and what it is.
pub fn check_weight(name: &str, weight: f64) -> Result<()> {
    if weight.is_finite() && weight >= 0. {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "method.{name}: expected a finite number of at least 0, got {weight}"
    )))
}

/// Checks an exponent of probabilities: from 0 to 100.
///
/// # Errors
/// Bad input that names it, what it must be and what it is.
pub(super) fn check_exponent(name: &str, exponent: f64) -> Result<()> {
    if (0. ..=100.).contains(&exponent) {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "method.{name}: expected an exponent from 0 to 100, got {exponent}"
    )))
}

/// Checks a temperature T that an experiment file names: from 0.001 to 1,000,000. Far outside, T²
/// or the logits over T are no numbers in float32, and the loss is none either.
///
/// # Errors
/// Bad input that says what T must be and what it is.
pub fn check_temperature(temperature: f64) -> Result<()> {
    if (1e-3..=1e6).contains(&temperature) {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "expected a temperature from 0.001 to 1,000,000, got {temperature:?}"
    )))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::*;

    /// Loss and gradient of logits of a usual size at this temperature.
    fn at(temperature: f64) -> Result<Vec<f32>> {
        let student = Var::new(&[[30f32, -20., 5.], [0., 1., -40.]], &Device::Cpu)?;
        let teacher = Tensor::new(&[[-30f32, 20., 5.], [12., 1., -1.]], &Device::Cpu)?;
        let loss = softened_kl(&student, &teacher, temperature)?;
        let gradient =
            loss.backward()?.get(&student).expect("a gradient").flatten_all()?.to_vec1()?;
        Ok([vec![loss.to_scalar()?], gradient].concat())
    }

    #[test]
    fn between_the_outermost_temperatures_the_loss_and_its_gradient_are_numbers_and_others_are_refused()
    -> Result<()> {
        for temperature in [1e-3, 1., 20., 1e6] {
            check_temperature(temperature)?;
            let numbers = at(temperature)?;
            assert!(numbers.iter().all(|x| x.is_finite()), "{temperature}: {numbers:?}");
            // Stock ops round each probability, and T² times that is noise where T is largest.
            assert!(
                numbers[0] > 0. || !kd_kernels::kernels_enabled(),
                "{temperature}: {numbers:?}"
            );
        }
        assert!(!at(1e300)?.iter().all(|x| x.is_finite()));
        for temperature in [0., -1., 9e-4, 1.1e6, 1e300, f64::NAN, f64::INFINITY] {
            let error = check_temperature(temperature).expect_err("outside");
            assert!(
                error.is_bad_input()
                    && error.to_string().ends_with(&format!("got {temperature:?}")),
                "{error}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_weight_rises_from_zero_over_its_warm_up_and_stays() {
        assert_eq!([0, 1, 10, 20, 30].map(|epoch| rise(epoch, 20)), [0., 0.05, 0.5, 1., 1.]);
        assert_eq!(rise(0, 0), 1.);
    }

    #[test]
    fn a_weight_that_is_no_finite_number_of_at_least_zero_is_refused_by_name() {
        for weight in [-1., f64::NAN, f64::INFINITY] {
            let error = check_weight("weight", weight).expect_err("no weight");
            assert_eq!(
                error.to_string(),
                format!("method.weight: expected a finite number of at least 0, got {weight}")
            );
        }
        assert!(check_weight("weight", 0.).is_ok());
    }
}
