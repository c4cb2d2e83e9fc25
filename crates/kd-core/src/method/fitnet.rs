//! Hints of "FitNets: Hints for thin deep nets" (Romero et al. 2015), section 2.2, as the CRD
//! benchmark runs them.
//!
//! L = hard-weight · CE + weight · mean((r(S) − T)²) for the maps S and T of one stage of student
//! and teacher, both after the activation. r is a convolution with bias, a batch-norm and a ReLU,
//! which bring S to T's channels and size (see `regressor.rs`).
//!
//! Deviation: the paper trains up to the hint in a first stage and with soft targets in a second;
//! the benchmark, and this file, train one loss throughout.

use kd_kernels::Activation;
use serde::{Deserialize, Serialize};

use super::regressor::Regressor;
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants, check_weight,
};
use crate::loss::hint;
use crate::model::{Activated, Mode, Model, Tap};
use crate::{Error, Result};

/// One hint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The stage of both networks, counted from 1; the benchmark takes the second.
    pub stage: usize,
    /// Weight of the hint.
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

/// Terms: `hint`, and those of [`LogitTerms`].
pub struct Fitnet {
    wants: Wants,
    weight: f64,
    logits: LogitTerms,
    /// The r above.
    regressor: Regressor,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let (student, teacher) = (
            stage(context.student(), "student", self.stage)?,
            stage(context.teacher_model()?, "teacher", self.stage)?,
        );
        let wants = Wants {
            student_taps: vec![student.name.clone()],
            teaching: Teaching::Live { taps: vec![teacher.name.clone()] },
            ..Wants::default()
        };
        let regressor = Regressor::new(
            &context.vb().pp("regressor"),
            context.precision(),
            "fitnet",
            student,
            teacher,
            Activation::Relu,
        )?;
        Ok(Box::new(Fitnet { wants, weight: self.weight, logits: self.logit_terms(), regressor }))
    }
}

impl Distillation for Fitnet {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (&step.student()?.taps[0], &step.teacher()?.taps[0]);
        let regressed = self.regressor.forward(student, Mode::Train(step.draws))?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher("hint", hint(&regressed, teacher)?, self.weight));
        Ok(terms)
    }
}

/// The output of a stage, after its activation.
///
/// # Errors
/// Bad input when the network has no such stage, or its features are no maps.
fn stage<'a>(network: &'a dyn Model, who: &str, number: usize) -> Result<&'a Tap> {
    let stages = network.stages(Activated::After);
    let found = number.checked_sub(1).and_then(|i| stages.get(i).copied());
    found.ok_or_else(|| {
        Error::bad_input(format!(
            "method.stage: expected 1 to {}, the stages of the {who}, got {number}",
            stages.len()
        ))
    })
}
