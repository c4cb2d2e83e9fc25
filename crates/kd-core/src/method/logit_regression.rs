//! Regression on the teacher's logits, which Hinton, Vinyals and Dean 2015, section 2.1, show to be distillation's limit.

use super::{Distillation, Step, Term, Wants};
use crate::Result;
use crate::loss::{cross_entropy, logit_regression};

/// Terms: `logits`, [`logit_regression`](crate::loss::logit_regression()) against the teacher, and, where its weight is not 0,
/// `hard`, the cross-entropy with the labels.
pub struct LogitRegression {
    /// Weight of `logits`.
    pub soft_weight: f64,
    /// Weight of `hard`.
    pub hard_weight: f64,
}

impl Distillation for LogitRegression {
    fn wants(&self) -> Wants {
        Wants { teacher: true, ..Wants::default() }
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let logits = &step.student.logits;
        let soft = logit_regression(logits, &step.teacher()?.logits)?;
        let mut terms = vec![Term { name: "logits", value: soft, weight: self.soft_weight }];
        if self.hard_weight != 0. {
            terms.push(Term { name: "hard", value: cross_entropy(logits, step.labels)?, weight: self.hard_weight });
        }
        Ok(terms)
    }
}
