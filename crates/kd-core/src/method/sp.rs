//! "Similarity-preserving knowledge distillation" (Tung and Mori 2019), section 3.
//!
//! L = hard-weight · CE + weight · G(S, T), with the [`similarity_preserving`] loss G and the maps
//! S and T of the last stage of student and teacher, both after the activation.
//!
//! Source: the paper; the tap and the weight (3000) are RepDistiller's. The paper takes the ends of
//! several stages for networks of one family.

use serde::{Deserialize, Serialize};

use super::pairs::{PairLoss, Pairs};
use super::{Context, Distillation, LogitTerms, Recipe, Soft, check_weight};
use crate::Result;
use crate::loss::similarity_preserving;

/// Similarities within the batch at the last stage. Terms: `similarity`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the distance of the similarities.
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
        let pairs = Pairs::last_stage(context, "sp")?;
        let logits = self.logit_terms();
        Ok(Box::new(PairLoss::new(
            &pairs,
            "similarity",
            similarity_preserving,
            self.weight,
            logits,
        )))
    }
}
