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

use super::pairs::{Pairs, sum_over_taps};
use super::{Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_weight};
use crate::Result;
use crate::loss::attention_transfer;

/// Attention at every stage.
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

/// Terms: `attention`, and those of [`LogitTerms`].
pub struct At {
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
        let wants = Pairs::stages(context, "at")?.that_pool("at")?.wants();
        Ok(Box::new(At { wants, weight: self.weight, logits: self.logit_terms() }))
    }
}

impl Distillation for At {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let attention = sum_over_taps(step, |_, s, t| Ok(attention_transfer(s, t)?))?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher("attention", attention, self.weight));
        Ok(terms)
    }
}
