//! "Learning deep representations with probabilistic knowledge transfer" (Passalis and Tefas 2018),
//! section 3.
//!
//! L = hard-weight · CE + weight · D(S, T), with the [`probabilistic_transfer`] loss D and the
//! pooled vectors S and T of student and teacher.
//!
//! Source: the paper; the weight (30000, since the loss is a mean over pairs) is RepDistiller's.

use serde::{Deserialize, Serialize};

use super::pairs::{PairLoss, Pairs};
use super::{Context, Distillation, LogitTerms, Recipe, Soft, check_weight};
use crate::Result;
use crate::loss::probabilistic_transfer;

/// Neighbourhoods of the pooled vectors within the batch. Terms: `neighbours`, and those of
/// [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the divergence.
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
        let pairs = Pairs::pooled(context)?;
        let logits = self.logit_terms();
        Ok(Box::new(PairLoss::new(
            &pairs,
            "neighbours",
            probabilistic_transfer,
            self.weight,
            logits,
        )))
    }
}
