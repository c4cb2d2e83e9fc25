//! Distillation of Hinton, Vinyals and Dean 2015, section 2.

use super::{Distillation, Step, Term, Wants};
use crate::Result;
use crate::loss::{cross_entropy, softened_kl};

/// Matches the teacher's softened probabilities. Terms: `soft`, T² times the KL divergence of the student's softmax at T from
/// the teacher's (the paper's cross-entropy with soft targets less a constant), and, where its weight is not 0, `hard`, the
/// cross-entropy with the labels at T = 1. Both are means over the batch, so the weights keep their meaning when T changes.
pub struct SoftTargets {
    /// The temperature T, above 0.
    pub temperature: f64,
    /// Weight of `soft`.
    pub soft_weight: f64,
    /// Weight of `hard`; the paper found a considerably lower one best.
    pub hard_weight: f64,
}

impl Distillation for SoftTargets {
    fn wants(&self) -> Wants {
        Wants { teacher: true, ..Wants::default() }
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let logits = &step.student.logits;
        let soft = softened_kl(logits, &step.teacher()?.logits, self.temperature)?;
        let mut terms = vec![Term { name: "soft", value: soft, weight: self.soft_weight }];
        if self.hard_weight != 0. {
            terms.push(Term { name: "hard", value: cross_entropy(logits, step.labels)?, weight: self.hard_weight });
        }
        Ok(terms)
    }
}
