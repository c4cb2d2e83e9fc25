//! "Knowledge distillation from a stronger teacher" (DIST; Huang, You, Wang, Qian and Xu 2022).
//!
//! L = hard-weight · CE + inter-weight · [`inter_class`] + intra-weight · [`intra_class`]: one
//! minus Pearson's correlation of the softened predictions of student and teacher, within each case
//! and within each class over the batch. Both carry T². Logits are `[b, c]`.
//!
//! Source: the paper; T² and the constant of the correlation are its official code's. For CIFAR-100
//! that takes T = 4, both weights 2, hard-weight 1, and no warm-up. No deviation.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, check_temperature, check_weight,
};
use crate::Result;
use crate::loss::pearson::{inter_class, intra_class};

/// Correlations of predictions. Terms: `inter-class`, `intra-class`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of all predictions.
    pub temperature: f64,
    /// Weight of the correlation within each case.
    pub inter_weight: f64,
    /// Weight of the correlation within each class.
    pub intra_weight: f64,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_weight("inter-weight", self.inter_weight)?;
        check_weight("intra-weight", self.intra_weight)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "dist")
    }
}

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, _: &Step) -> Result<Vec<Term>> {
        let (inter, intra) = (
            inter_class(student, teacher, self.temperature)?,
            intra_class(student, teacher, self.temperature)?,
        );
        Ok(vec![
            Term::teacher("inter-class", inter, self.inter_weight),
            Term::teacher("intra-class", intra, self.intra_weight),
        ])
    }
}
