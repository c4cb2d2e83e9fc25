//! Attention transfer: "Paying more attention to attention" (Zagoruyko and Komodakis 2017), section
//! 3.1.
//!
//! L = hard-weight · CE + weight · Σ_l A(S_l, T_l), with the [`attention_transfer`] loss A and the
//! maps S_l and T_l of stage l of student and teacher, both after the activation. The larger map of
//! a pair is pooled to the size of the smaller.
//!
//! Source: the paper; taps, the mean of squares and the weight (1000) are RepDistiller's. For how
//! the paper's differs see the loss.

use serde::{Deserialize, Serialize};

use super::pairs::{PairLoss, Pairs};
use super::{Context, Distillation, LogitTerms, Recipe, Soft, check_weight};
use crate::Result;
use crate::loss::attention_transfer;

/// Attention at every stage. Terms: `attention`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the sum over the stages.
    pub weight: f64,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let pairs = Pairs::stages(context, "at")?.that_pool("at")?;
        let logits = self.logit_terms();
        Ok(Box::new(PairLoss::new(&pairs, "attention", attention_transfer, self.weight, logits)))
    }
}
