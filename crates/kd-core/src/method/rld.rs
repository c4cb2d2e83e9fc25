//! "Knowledge distillation with refined logits" (RLD; Sun et al. 2025).
//!
//! L = hard-weight · CE + min(1, e / warm-up-epochs) · (alpha · [`sample_confidence`] + beta ·
//! [`masked_correlation`]) at epoch e, counted from 1. The first takes from the teacher how sure it
//! is, whatever of, at its own temperature; the second how it ranks the classes that it holds for
//! less likely than the label. Both carry their T². Logits are `[b, c]`.
//!
//! Source: the paper and its official code, which has temperature 4, confidence-temperature 1,
//! alpha 1, beta 8, hard-weight 1 and a warm-up of 20 epochs; the values for each pair are not
//! released. No deviation.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, check_temperature, check_warm_up,
    check_weight, rise,
};
use crate::Result;
use crate::loss::refined::{masked_correlation, sample_confidence};

/// Refined logits. Terms: `confidence`, `correlation`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of the classes below the label.
    pub temperature: f64,
    /// The temperature T of how sure both are.
    pub confidence_temperature: f64,
    /// Weight of how sure both are.
    pub alpha: f64,
    /// Weight of the classes below the label.
    pub beta: f64,
    /// Epochs over which both weights rise; 0 for none.
    pub warm_up_epochs: usize,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_temperature(self.confidence_temperature)?;
        check_weight("alpha", self.alpha)?;
        check_weight("beta", self.beta)?;
        check_warm_up(self.warm_up_epochs)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "rld")
    }
}

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, step: &Step) -> Result<Vec<Term>> {
        let rise = rise(step.epoch + 1, self.warm_up_epochs);
        let confidence =
            sample_confidence(student, teacher, step.labels, self.confidence_temperature)?;
        let correlation = masked_correlation(student, teacher, step.labels, self.temperature)?;
        Ok(vec![
            Term::teacher("confidence", confidence, self.alpha * rise),
            Term::teacher("correlation", correlation, self.beta * rise),
        ])
    }
}
