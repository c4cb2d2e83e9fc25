//! "Similarity-preserving knowledge distillation" (Tung and Mori 2019), section 3.
//!
//! L = hard-weight · CE + weight · G(S, T), with the [`similarity_preserving`] loss G and the maps
//! S and T of the last stage of student and teacher, both after the activation.
//!
//! Source: the paper; the tap and the weight (3000) are RepDistiller's. The paper takes the ends of
//! several stages for networks of one family.

use serde::{Deserialize, Serialize};

use super::pairs::{Pairs, sum_over_taps};
use super::{Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_weight};
use crate::Result;
use crate::loss::similarity_preserving;

/// Similarities within the batch at the last stage.
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

/// Terms: `similarity`, and those of [`LogitTerms`].
pub struct Sp {
    wants: Wants,
    weight: f64,
    logits: LogitTerms,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let wants = Pairs::last_stage(context, "sp")?.wants();
        Ok(Box::new(Sp { wants, weight: self.weight, logits: self.logit_terms() }))
    }
}

impl Distillation for Sp {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let similarity = sum_over_taps(step, |_, s, t| Ok(similarity_preserving(s, t)?))?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher("similarity", similarity, self.weight));
        Ok(terms)
    }
}
