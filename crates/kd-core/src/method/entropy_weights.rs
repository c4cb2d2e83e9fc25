//! "EA-KD: entropy-based adaptive knowledge distillation" (Su et al. 2025): weights of the cases of
//! soft targets.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::check_temperature;
use crate::Result;
use crate::loss::entropy_weights::entropy_weights;

/// How much each case of soft targets weighs, [`entropy_weights`], as an experiment file writes it:
/// `entropy-weights = { temperature = 3.0, bound = "log-classes" }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EntropyWeights {
    /// The temperature of the predictions whose entropy counts.
    pub temperature: f64,
    /// What the student's entropy is taken over.
    pub bound: EntropyBound,
}

/// What the student's entropy is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntropyBound {
    /// ln c, the largest entropy that there is, as in the paper.
    LogClasses,
    /// c, a deviation from the formula: the official code takes 100 in place of ln 100 for soft
    /// targets on CIFAR-100, so that the student's doubt hardly counts.
    Classes,
}

impl EntropyWeights {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that says what the temperature must be and what it is.
    pub fn check(&self) -> Result<()> {
        check_temperature(self.temperature)
    }

    /// The weights of cases with these logits, `[b, c]` → `[b]`.
    ///
    /// # Errors
    /// When the logits are not of one shape with c ≥ 2.
    pub fn of_cases(&self, student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
        let classes = student.dims2()?.1 as f64;
        let bound = match self.bound {
            EntropyBound::LogClasses => classes.ln(),
            EntropyBound::Classes => classes,
        };
        Ok(entropy_weights(student, teacher, self.temperature, bound)?)
    }
}
