//! "Like what you like: knowledge distill via neuron selectivity transfer" (Huang and Wang 2017),
//! section 4, with the polynomial kernel.
//!
//! L = hard-weight · CE + weight · Σ_l M(S_l, T_l), with the [`neuron_selectivity()`] loss M and
//! the maps S_l and T_l of stage l of student and teacher, both after the activation. The larger
//! map of a pair is pooled to the size of the smaller.
//!
//! Source: the paper; taps and the weight (50) are RepDistiller's.

use serde::{Deserialize, Serialize};

use super::pairs::{PairLoss, Pairs};
use super::{Context, Distillation, LogitTerms, Recipe, Soft, check_weight};
use crate::Result;
use crate::loss::neuron_selectivity;

/// Selectivity of the channels of every stage. Terms: `selectivity`, and those of [`LogitTerms`].
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
        let pairs = Pairs::stages(context, "nst")?.that_pool("nst")?;
        let logits = self.logit_terms();
        Ok(Box::new(PairLoss::new(&pairs, "selectivity", neuron_selectivity, self.weight, logits)))
    }
}
