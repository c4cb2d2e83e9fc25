//! "LumiNet: perception-driven knowledge distillation via statistical logit calibration" (Hossain
//! et al. 2025).
//!
//! L = hard-weight · CE + min(1, e / warm-up-epochs) · weight · [`perception_divergence`] at epoch
//! e, counted from 1: the divergence of soft targets, without T², of the logits `[b, c]` less the
//! mean of their class in the batch, over its deviation there.
//!
//! Source: the paper and its official code, whose `alpha` is squared: 33 there is a weight of 1089.
//! Its warm-up takes 20 epochs. No deviation.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, check_temperature, check_warm_up,
    check_weight, rise,
};
use crate::Result;
use crate::loss::perception_divergence;

/// Perceptions of a batch. Terms: `perception`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of both softmaxes.
    pub temperature: f64,
    /// Weight of the divergence.
    pub weight: f64,
    /// Epochs over which it rises; 0 for none.
    pub warm_up_epochs: usize,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it, of the logits as they are.
    pub soft: Option<Soft>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_weight("weight", self.weight)?;
        check_warm_up(self.warm_up_epochs)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "luminet")
    }
}

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, step: &Step) -> Result<Vec<Term>> {
        let value = perception_divergence(student, teacher, self.temperature)?;
        let weight = self.weight * rise(step.epoch + 1, self.warm_up_epochs);
        Ok(vec![Term::teacher("perception", value, weight)])
    }
}
