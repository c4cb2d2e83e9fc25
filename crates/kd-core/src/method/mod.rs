//! Distillation methods: one a file, behind one trait and one closed enum.
//!
//! A method says what it wants from teacher and student and turns one step's outputs into named loss terms. The arithmetic is
//! in [`crate::loss`]; a method is wiring. To add one, write its file, add its variant to [`MethodSpec`], and the compiler
//! shows the one place that is left.

pub mod hard_targets;
pub mod logit_regression;
pub mod soft_targets;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::model::Outputs;
use crate::params::Params;
use crate::{Error, Result};

/// What a step offers a method.
pub struct Step<'a> {
    /// The student's logits, and its taps in the order of [`Wants::student_taps`].
    pub student: &'a Outputs,
    /// The teacher's, where the method wants any; its taps in the order of [`Wants::teacher_taps`].
    pub teacher: Option<&'a Outputs>,
    /// True classes, `u32 [batch]`.
    pub labels: &'a Tensor,
}

impl Step<'_> {
    /// The teacher's outputs.
    ///
    /// # Errors
    /// Bad input when the step has none, which means that a cell with a distillation method names no teacher.
    pub fn teacher(&self) -> Result<&Outputs> {
        self.teacher.ok_or_else(|| Error::bad_input("this method needs a teacher, and the cell names none"))
    }
}

/// What a method asks of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Whether it needs the teacher at all.
    pub teacher: bool,
    /// Taps of the student, by name.
    pub student_taps: Vec<String>,
    /// Taps of the teacher, by name.
    pub teacher_taps: Vec<String>,
}

/// One term of the loss: the total is the sum of `weight · value`.
pub struct Term {
    /// Its name, as the logs show it.
    pub name: &'static str,
    /// The raw value, a scalar tensor.
    pub value: Tensor,
    /// Its weight in the total.
    pub weight: f64,
}

/// A method that shapes the loss.
pub trait Distillation: Send + Sync {
    /// What it needs.
    fn wants(&self) -> Wants;

    /// Its own trainable adapters, if it has any; they train with the student and are dropped afterwards.
    fn adapters(&self) -> Option<&Params> {
        None
    }

    /// The loss terms of one step.
    ///
    /// # Errors
    /// When the step lacks what [`Distillation::wants`] asked for, or shapes do not fit.
    fn terms(&self, step: &Step) -> Result<Vec<Term>>;
}

/// The methods there are, with their hyper-parameters, as an experiment file writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum MethodSpec {
    /// Cross-entropy with the labels alone: no distillation. See [`hard_targets`].
    HardTargets {},
    /// Hinton, Vinyals and Dean 2015. See [`soft_targets`].
    SoftTargets {
        /// The temperature T of both softmaxes.
        temperature: f64,
        /// Weight of the divergence from the teacher, which already carries T².
        soft_weight: f64,
        /// Weight of the cross-entropy with the labels at T = 1.
        hard_weight: f64,
    },
    /// The limit of soft targets at high temperature. See [`logit_regression`].
    LogitRegression {
        /// Weight of the squared distance of the logits.
        soft_weight: f64,
        /// Weight of the cross-entropy with the labels.
        hard_weight: f64,
    },
}

/// Checks a temperature T that an experiment file names: from 0.001 to 1,000,000. Far outside, T² or the logits over T are no
/// numbers in float32, and the loss is none either.
///
/// # Errors
/// Bad input that says what T must be and what it is.
pub fn check_temperature(temperature: f64) -> Result<()> {
    match (1e-3..=1e6).contains(&temperature) {
        true => Ok(()),
        false => Err(Error::bad_input(format!("expected a temperature from 0.001 to 1,000,000, got {temperature:?}"))),
    }
}

impl MethodSpec {
    /// Makes the method.
    ///
    /// # Errors
    /// Bad input when a hyper-parameter is outside its domain.
    pub fn build(&self) -> Result<Box<dyn Distillation>> {
        let weights = |soft: f64, hard: f64| match soft >= 0. && hard >= 0. && (soft + hard).is_finite() && soft + hard > 0. {
            true => Ok(()),
            false => Err(Error::bad_input(format!(
                "method: expected finite weights of at least 0, not both 0, got soft-weight {soft}, hard-weight {hard}"
            ))),
        };
        Ok(match *self {
            Self::HardTargets {} => Box::new(hard_targets::HardTargets),
            Self::SoftTargets { temperature, soft_weight, hard_weight } => {
                weights(soft_weight, hard_weight)?;
                check_temperature(temperature)?;
                Box::new(soft_targets::SoftTargets { temperature, soft_weight, hard_weight })
            }
            Self::LogitRegression { soft_weight, hard_weight } => {
                weights(soft_weight, hard_weight)?;
                Box::new(logit_regression::LogitRegression { soft_weight, hard_weight })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::loss::softened_kl;

    /// Loss and gradient of logits of a usual size at this temperature.
    fn at(temperature: f64) -> Result<Vec<f32>> {
        let student = Var::new(&[[30f32, -20., 5.], [0., 1., -40.]], &Device::Cpu)?;
        let teacher = Tensor::new(&[[-30f32, 20., 5.], [12., 1., -1.]], &Device::Cpu)?;
        let loss = softened_kl(&student, &teacher, temperature)?;
        let gradient = loss.backward()?.get(&student).expect("a gradient").flatten_all()?.to_vec1()?;
        Ok([vec![loss.to_scalar()?], gradient].concat())
    }

    #[test]
    fn between_the_outermost_temperatures_the_loss_and_its_gradient_are_numbers_and_others_are_refused() -> Result<()> {
        for temperature in [1e-3, 1., 20., 1e6] {
            check_temperature(temperature)?;
            let numbers = at(temperature)?;
            assert!(numbers.iter().all(|x| x.is_finite()) && numbers[0] > 0., "{temperature}: {numbers:?}");
        }
        assert!(!at(1e300)?.iter().all(|x| x.is_finite()));
        for temperature in [0., -1., 9e-4, 1.1e6, 1e300, f64::NAN, f64::INFINITY] {
            let error = check_temperature(temperature).expect_err("outside");
            assert!(error.is_bad_input() && error.to_string().ends_with(&format!("got {temperature:?}")), "{error}");
        }
        Ok(())
    }
}
