//! "NormKD: normalized logits for knowledge distillation" (Chi et al. 2023).
//!
//! L = soft-weight · [`normalised_temperature`] + hard-weight · CE: soft targets whose temperature
//! is, for each case and each side, `temperature` times the standard deviation of its logits; the
//! factor T² is that of the teacher's. Logits are `[b, c]`.
//!
//! Source: the paper and its official code, which has temperature 2, soft-weight 0.9 and
//! hard-weight 0.1 for all pairs. No deviation.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::soft_targets::check_soft_and_hard;
use super::{Context, Distillation, LogitTerms, Recipe, Step, Term, check_temperature};
use crate::Result;
use crate::loss::normalised_temperature;

/// Temperatures in proportion to the spread of the logits. Terms: `hard`, where its weight is not
/// 0, and `soft`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature over the standard deviation of the logits.
    pub temperature: f64,
    /// Weight of the divergence from the teacher, which already carries T².
    pub soft_weight: f64,
    /// Weight of the cross-entropy with the labels at T = 1.
    pub hard_weight: f64,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_soft_and_hard(self.soft_weight, self.hard_weight)?;
        check_temperature(self.temperature)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "norm-kd")
    }
}

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: None }
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, _: &Step) -> Result<Vec<Term>> {
        let value = normalised_temperature(student, teacher, self.temperature)?;
        Ok(vec![Term::teacher("soft", value, self.soft_weight)])
    }
}
