//! Activation boundaries: "Knowledge transfer via distillation of activation boundaries formed by
//! hidden neurons" (Heo, Lee, Yun and Choi, AAAI 2019), as the CRD benchmark runs it.
//!
//! L = weight · Σ_l stage-decay^(L − 1 − l) · D(r_l(S_l), T_l) + hard-weight · CE, where S_l and
//! T_l are the maps of stage l = 0, …, L − 1 of student and teacher, both before the activation,
//! and D is the squared hinge [`activation_boundary()`]. r_l is nothing where the two maps have one
//! shape, and elsewhere a connector, convolution and batch-norm (see `regressor.rs`).
//!
//! The method has two phases: this loss alone, with hard-weight 0, moves the student's stages and
//! the connectors for some epochs (30 in the benchmark); then the student trains as usual, with
//! hard or soft targets. The classifier gets no gradient in the first and stays as it began.
//! The benchmark's weight 1 is 0.003 here, since its program divides by 1000 and multiplies by 3;
//! its margin is 1, its stage-decay 0.5.

use kd_kernels::Activation;
use serde::{Deserialize, Serialize};

use super::regressor::Regressor;
use super::stages::{check_stage_decay, weighted_stages};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants, check_weight,
};
use crate::loss::activation_boundary;
use crate::model::{Activated, Mode, Tap};
use crate::{Error, Result};

/// The first phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the boundaries.
    pub weight: f64,
    /// How far from zero a neuron is pushed (μ), above 0.
    pub margin: f64,
    /// What a stage counts of what the stage behind it does, above 0 and at most 1.
    pub stage_decay: f64,
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

/// Terms: `boundary`, and those of [`LogitTerms`].
pub struct ActivationBoundaries {
    spec: Spec,
    wants: Wants,
    logits: LogitTerms,
    /// One a stage; none where the maps have one shape.
    connectors: Vec<Option<Regressor>>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        if !(self.margin.is_finite() && self.margin > 0.) {
            return Err(Error::bad_input(format!(
                "method.margin: expected a finite number above 0, got {}",
                self.margin
            )));
        }
        check_stage_decay(self.stage_decay)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let student = context.student().stages(Activated::Before);
        let teacher = context.teacher_model()?.stages(Activated::Before);
        if student.len() != teacher.len() {
            let what =
                format!("ab: expected a student with the teacher's {} stages", teacher.len());
            return Err(Error::bad_input(format!("{what}, got one with {}", student.len())));
        }
        let mut connectors = Vec::new();
        for (i, (s, t)) in student.iter().zip(&teacher).enumerate() {
            let alike = (s.channels, s.side()) == (t.channels, t.side());
            let vb = context.vb().pp(format!("connector{}", i + 1));
            connectors.push(if alike {
                None
            } else {
                Some(Regressor::new(&vb, context.precision(), "ab", s, t, Activation::None)?)
            });
        }
        let names = |taps: &[&Tap]| taps.iter().map(|tap| tap.name.clone()).collect::<Vec<_>>();
        let wants = Wants {
            student_taps: names(&student),
            teaching: Teaching::Live { taps: names(&teacher) },
            ..Wants::default()
        };
        Ok(Box::new(ActivationBoundaries {
            spec: self.clone(),
            wants,
            logits: self.logit_terms(),
            connectors,
        }))
    }
}

impl Distillation for ActivationBoundaries {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (&step.student()?.taps, &step.teacher()?.taps);
        let mut distances = Vec::new();
        for ((connector, s), t) in self.connectors.iter().zip(student).zip(teacher) {
            let connected =
                connector.as_ref().map(|c| c.forward(s, Mode::Train(step.draws))).transpose()?;
            distances.push(activation_boundary(
                connected.as_ref().unwrap_or(s),
                t,
                self.spec.margin,
            )?);
        }
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher(
            "boundary",
            weighted_stages(distances, self.spec.stage_decay)?,
            self.spec.weight,
        ));
        Ok(terms)
    }
}
