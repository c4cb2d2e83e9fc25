//! Methods on the logits of student and teacher alone.

use candle_core::Tensor;

use super::{Context, Distillation, LogitTerms, Recipe, Step, Teaching, Term, Wants, compared};
use crate::{Error, Result};

/// What the spec of such a method says of a step.
pub(super) trait OnLogits: Recipe + Clone + Send + Sync + 'static {
    /// The terms that it shares with other methods.
    fn logit_terms(&self) -> LogitTerms;

    /// Whether its own terms compare standardised logits.
    fn standardised(&self) -> bool {
        false
    }

    /// Its own terms, of the logits of student and teacher.
    ///
    /// # Errors
    /// Those of its losses.
    fn own_terms(&self, student: &Tensor, teacher: &Tensor, step: &Step) -> Result<Vec<Term>>;
}

/// Makes the method of this name: the terms of [`OnLogits::logit_terms`], then its own.
///
/// # Errors
/// Bad input when there is no teacher, or the two do not have the same classes, at least 2.
pub(super) fn on_logits<S: OnLogits>(
    spec: &S,
    context: &Context,
    method: &str,
) -> Result<Box<dyn Distillation>> {
    let wants = wants_logits(context, method)?;
    Ok(Box::new(Method { spec: spec.clone(), wants }))
}

/// What a method of this name wants, if it looks at the logits of both networks alone.
///
/// # Errors
/// As [`on_logits`].
pub(super) fn wants_logits(context: &Context, method: &str) -> Result<Wants> {
    let (student, teacher) = (context.student().classes(), context.teacher_model()?.classes());
    if student != teacher || student < 2 {
        let expected = "expected a student and a teacher of the same classes, at least 2";
        return Err(Error::bad_input(format!("{method}: {expected}, got {student} and {teacher}")));
    }
    Ok(Wants { teaching: Teaching::Logits, ..Wants::default() })
}

struct Method<S> {
    spec: S,
    wants: Wants,
}

impl<S: OnLogits> Distillation for Method<S> {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let mut terms = self.spec.logit_terms().terms(step)?;
        let (student, teacher) = compared(step, self.spec.standardised())?;
        terms.extend(self.spec.own_terms(&student, &teacher, step)?);
        Ok(terms)
    }
}
