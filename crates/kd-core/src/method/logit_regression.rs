//! Regression on the teacher's logits, which Hinton, Vinyals and Dean 2015, section 2.1, show to be
//! distillation's limit.

use serde::{Deserialize, Serialize};

use super::soft_targets::check_soft_and_hard;
use super::{Context, Distillation, Recipe, Step, Teaching, Term, Wants};
use crate::Result;
use crate::loss::{cross_entropy, logit_regression};

/// The limit of soft targets at high temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the squared distance of the logits.
    pub soft_weight: f64,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
}

/// Terms: `logits`, [`logit_regression`](crate::loss::logit_regression()) against the teacher, and,
/// where its weight is not 0, `hard`, the cross-entropy with the labels.
pub struct LogitRegression {
    spec: Spec,
    wants: Wants,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_soft_and_hard(self.soft_weight, self.hard_weight)
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Distillation>> {
        Ok(Box::new(LogitRegression::new(self.clone())))
    }
}

impl LogitRegression {
    /// The method; [`Recipe::check`] says whether the numbers make sense.
    pub fn new(spec: Spec) -> Self {
        Self { spec, wants: Wants { teaching: Teaching::Logits, ..Wants::default() } }
    }
}

impl Distillation for LogitRegression {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let logits = &step.student()?.logits;
        let soft = logit_regression(logits, &step.teacher()?.logits)?;
        let mut terms = vec![Term::teacher("logits", soft, self.spec.soft_weight)];
        if self.spec.hard_weight != 0. {
            terms.push(Term::task(
                "hard",
                cross_entropy(logits, step.labels)?,
                self.spec.hard_weight,
            ));
        }
        Ok(terms)
    }
}
