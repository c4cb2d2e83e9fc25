//! Normalised knowledge distillation (NKD): "From knowledge distillation to self-knowledge
//! distillation: a unified approach with normalized loss and customized soft labels" (Yang et al.
//! 2023).
//!
//! L = hard-weight · CE + min(1, e / warm-up-epochs) · (target-weight · [`trusted_labels`] +
//! others-weight · [`other_classes`]) at epoch e, counted from 1: cross-entropy with the labels,
//! each case weighed by what the teacher gives its label, and cross-entropy with the teacher among
//! the other classes, brought to a sum of 1, which carries T². Logits are `[b, c]`.
//!
//! Source: the paper. With `label-stays`, a deviation from its formula, the second term is over all
//! classes: T² · [`soft_cross_entropy()`]. That is what the copy computes with which Wei et al. 2024
//! ("Scale decoupled distillation") measured the method on CIFAR-100, and a version of the
//! official code: the mask of the true class is 1 everywhere. The copy has T = 1, weights 1 and 1.5
//! and a warm-up of 20 epochs for all pairs; the official configuration for CIFAR-100, of other
//! networks, has T = 3, weights 1 and 3.5 and no warm-up.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, check_temperature, check_warm_up,
    check_weight, rise,
};
use crate::Result;
use crate::loss::normalised::{other_classes, trusted_labels};
use crate::loss::soft_cross_entropy;

/// Normalised soft targets. Terms: `target`, `others`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T among the other classes; the true class has none.
    pub temperature: f64,
    /// Weight of the cross-entropy with the labels that the teacher weighs.
    pub target_weight: f64,
    /// Weight of the cross-entropy among the other classes (γ).
    pub others_weight: f64,
    /// Whether the true class stays among the other classes.
    pub label_stays: bool,
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
        check_weight("target-weight", self.target_weight)?;
        check_weight("others-weight", self.others_weight)?;
        check_warm_up(self.warm_up_epochs)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "nkd")
    }
}

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, step: &Step) -> Result<Vec<Term>> {
        let (t, rise) = (self.temperature, rise(step.epoch + 1, self.warm_up_epochs));
        let target = trusted_labels(student, teacher, step.labels)?;
        let others = if self.label_stays {
            (soft_cross_entropy(student, teacher, t)? * (t * t))?
        } else {
            other_classes(student, teacher, step.labels, t)?
        };
        Ok(vec![
            Term::teacher("target", target, self.target_weight * rise),
            Term::teacher("others", others, self.others_weight * rise),
        ])
    }
}
