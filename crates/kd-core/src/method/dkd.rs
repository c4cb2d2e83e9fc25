//! "Decoupled knowledge distillation" (Zhao, Cui, Song, Qiu and Liang 2022), section 3.
//!
//! L = hard-weight · CE + min(1, e / warm-up-epochs) · (alpha · TCKD + beta · NCKD) at epoch e,
//! counted from 1, with the losses [`target_class`] and [`non_target_class`], which carry T².
//!
//! Source: the paper; the warm-up (20 epochs) and beta per pair are those of its official code.
//! There an epoch counts from 1, so that the first is not without the teacher.
//!
//! With `standardised`, both parts compare standardised logits ("Logit standardization in knowledge
//! distillation", Sun et al. 2024). The weight that its official code gives both, `--kd-weight`, is
//! a factor of alpha and of beta here.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, check_temperature, check_warm_up,
    check_weight, rise,
};
use crate::Result;
use crate::loss::decoupled::{non_target_class, target_class};

/// Soft targets in two parts. Terms: `target`, `non-target`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of both.
    pub temperature: f64,
    /// Weight of how sure student and teacher are of the true class.
    pub alpha: f64,
    /// Weight of how they rank the other classes.
    pub beta: f64,
    /// Epochs over which both weights rise; 0 for none.
    pub warm_up_epochs: usize,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it, of the logits as they are.
    pub soft: Option<Soft>,
    /// Whether both compare [`standardised`](crate::loss::standardised) logits; false where an
    /// experiment file does not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standardised: bool,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_weight("alpha", self.alpha)?;
        check_weight("beta", self.beta)?;
        check_warm_up(self.warm_up_epochs)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "dkd")
    }
}

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    fn standardised(&self) -> bool {
        self.standardised
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, step: &Step) -> Result<Vec<Term>> {
        let rise = rise(step.epoch + 1, self.warm_up_epochs);
        let target = target_class(student, teacher, step.labels, self.temperature)?;
        let non_target = non_target_class(student, teacher, step.labels, self.temperature)?;
        Ok(vec![
            Term::teacher("target", target, self.alpha * rise),
            Term::teacher("non-target", non_target, self.beta * rise),
        ])
    }
}
