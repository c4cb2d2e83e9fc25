//! "Decoupled knowledge distillation" (Zhao, Cui, Song, Qiu and Liang 2022), section 3.
//!
//! L = hard-weight · CE + min(1, e / warm-up-epochs) · (alpha · TCKD + beta · NCKD) at epoch e,
//! counted from 1, with the losses [`target_class`] and [`non_target_class`], which carry T².
//!
//! Source: the paper; the warm-up (20 epochs) and beta per pair are those of its official code.
//! There an epoch counts from 1, so that the first is not without the teacher.

use serde::{Deserialize, Serialize};

use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants,
    check_temperature, check_weight, rise,
};
use crate::loss::decoupled::{non_target_class, target_class};
use crate::{Error, Result};

/// Soft targets in two parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of both.
    pub temperature: f64,
    /// Weight of how sure student and teacher are of the true class.
    pub alpha: f64,
    /// Weight of how they rank the other classes.
    pub beta: f64,
    /// Epochs over which both weights rise; 0 for none.
    pub warm_up_epochs: usize,
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

/// Terms: `target`, `non-target`, and those of [`LogitTerms`].
pub struct Dkd {
    spec: Spec,
    wants: Wants,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_weight("alpha", self.alpha)?;
        check_weight("beta", self.beta)?;
        Error::unless_within("method.warm-up-epochs", self.warm_up_epochs, 0..=1_000_000)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        context.teacher()?;
        if context.student().classes() < 2 {
            return Err(Error::bad_input(
                "dkd: expected a student of at least 2 classes, got one with less",
            ));
        }
        Ok(Box::new(Dkd {
            spec: self.clone(),
            wants: Wants { teaching: Teaching::Logits, ..Wants::default() },
        }))
    }
}

impl Distillation for Dkd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let Spec { temperature, alpha, beta, .. } = self.spec;
        let (student, teacher) = (&step.student()?.logits, &step.teacher()?.logits);
        let rise = rise(step.epoch + 1, self.spec.warm_up_epochs);
        let mut terms = self.spec.logit_terms().terms(step)?;
        terms.push(Term::teacher(
            "target",
            target_class(student, teacher, step.labels, temperature)?,
            alpha * rise,
        ));
        terms.push(Term::teacher(
            "non-target",
            non_target_class(student, teacher, step.labels, temperature)?,
            beta * rise,
        ));
        Ok(terms)
    }
}
