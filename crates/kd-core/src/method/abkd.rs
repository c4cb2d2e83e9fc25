//! "ABKD: pursuing a proper allocation of the probability mass in knowledge distillation via
//! α-β-divergence" (Wang et al. 2025).
//!
//! L = hard-weight · CE + weight · [`alpha_beta_divergence`] of the predictions at T, without T².
//! Logits are `[b, c]`.
//!
//! Source: the paper and its official code, whose example for resnet56 to resnet20 has alpha 0.8,
//! beta 0.3, T = 4, weight 32 and hard-weight 1. Deviation: see the loss.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, check_exponent, check_temperature,
    check_weight,
};
use crate::loss::alpha_beta_divergence;
use crate::{Error, Result};

/// The α-β-divergence. Terms: `divergence`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of both softmaxes.
    pub temperature: f64,
    /// The exponent α of the teacher's probabilities, above 0.
    pub alpha: f64,
    /// The exponent β of the student's probabilities, above 0.
    pub beta: f64,
    /// Weight of the divergence.
    pub weight: f64,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        for (name, exponent) in [("alpha", self.alpha), ("beta", self.beta)] {
            check_exponent(name, exponent)?;
            // The divergence is over their product.
            if exponent < LEAST {
                return Err(Error::bad_input(format!(
                    "method.{name}: expected an exponent of at least {LEAST}, got {exponent}"
                )));
            }
        }
        check_weight("weight", self.weight)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "abkd")
    }
}

/// Of an exponent. Below, the difference that the divergence is a quotient of drowns in rounding.
const LEAST: f64 = 0.01;

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, _: &Step) -> Result<Vec<Term>> {
        let value =
            alpha_beta_divergence(student, teacher, self.alpha, self.beta, self.temperature)?;
        Ok(vec![Term::teacher("divergence", value, self.weight)])
    }
}
