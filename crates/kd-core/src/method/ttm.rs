//! "Knowledge distillation based on transformed teacher matching" (TTM and WTTM; Zheng and Yang
//! 2024).
//!
//! L = hard-weight · CE + weight · [`transformed_teacher()`]: the divergence of the student's
//! predictions, without a temperature, from the teacher's to the power γ, brought to a sum of 1.
//! With `weighted` it is WTTM, [`weighted_transformed_teacher`]: a case weighs what its powers add
//! up to. Logits are `[b, c]`; there is no factor T².
//!
//! Source: the paper and its official code. No deviation. Of the weights and exponents, which
//! differ from pair to pair, the code has two: γ = 0.1 and weight 45 for TTM from vgg13 to vgg8,
//! and γ = 0.2 and weight 4 for WTTM beside contrastive representations there.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, check_exponent, check_weight,
};
use crate::Result;
use crate::loss::{transformed_teacher, weighted_transformed_teacher};

/// A teacher transformed by a power. Terms: `transformed`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The power γ of the teacher's probabilities, the inverse of a temperature.
    pub exponent: f64,
    /// Whether a case weighs what its powers add up to (WTTM).
    pub weighted: bool,
    /// Weight of the divergence.
    pub weight: f64,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_exponent("exponent", self.exponent)?;
        check_weight("weight", self.weight)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "ttm")
    }
}

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, _: &Step) -> Result<Vec<Term>> {
        let loss = if self.weighted { weighted_transformed_teacher } else { transformed_teacher };
        let value = loss(student, teacher, self.exponent)?;
        Ok(vec![Term::teacher("transformed", value, self.weight)])
    }
}
