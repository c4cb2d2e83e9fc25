//! "NORM: knowledge distillation via N-to-one representation matching" (Liu, Li, Li and Yao, ICLR
//! 2023).
//!
//! L = hard-weight · CE(z) + factor(e) · weight · D(E, T) at epoch e, counted from 0, with the
//! student's logits z, its last map expanded to N = `copies` times the teacher's channels, E, the
//! teacher's last map T, and the distance D, [`n_to_one()`]. The expansion is the first of two
//! convolutions of a branch over the student's last map, which are linear and trained with it
//! ([`HeadSpec::Expanded`]). At the end they are folded into the student's dense layer
//! ([`NetworkSpec::folded`]): the network that is deployed is as large as the student alone.
//!
//! With `logit-scale` a, the logits of both networks are standardised over the classes and
//! multiplied by a before any term sees them, in training and in the deployed network, as the
//! official program does (a = 2.5) and its instructions do not say. Without it they are as they
//! are. The order of the classes, and with it accuracy, does not depend on it; the probabilities
//! do.
//!
//! Source: section 3 and the official program: N = 8, weight 1, hard-weight from 0.0625, 0.125,
//! 0.25 and 0.5 for each pair, and factors of 0.1 from epoch 0, 0.5 from 10, 1 from 20, 0.5 from
//! 180 and 0.1 from 210. "+KD" adds softened targets at T = 4.
//!
//! Deviations: D1 in wide residual networks the branch is over the map after the last batch-norm
//! and ReLU, and the teacher's map T is taken there; the program has both before. Only in front of
//! the dense layer can the branch be folded. D2 MobileNetV2 keeps the ReLU behind its last
//! convolution, which the program's does not have. D3 the program's ShuffleNetV2 adds its branch to
//! the network's input, which fails; here it is added to the last map, as in all others.

use serde::{Deserialize, Serialize};

use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants, check_weight,
};
use crate::loss::n_to_one;
use crate::model::head::standardised;
use crate::model::{EXPANDED, HeadSpec, LAST, Model, NetworkSpec, Outputs};
use crate::{Error, Result};

/// N-to-one matching.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// How often the teacher's channels are in the expanded map (N).
    pub copies: usize,
    /// The standard deviation to which an image's logits are brought; left out for logits as they
    /// are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logit_scale: Option<f64>,
    /// Weight of the distance.
    pub weight: f64,
    /// What the weight is multiplied by from an epoch on, the first of them 0; empty for 1
    /// throughout.
    pub factors: Vec<Factor>,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

/// A factor of a weight from an epoch on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Factor {
    /// The epoch of the phase, counted from 0.
    pub from: usize,
    /// The factor.
    pub factor: f64,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    /// The factor at `epoch`, counted from 0.
    fn factor(&self, epoch: usize) -> f64 {
        let known = self.factors.iter().rev().find(|factor| factor.from <= epoch);
        known.map_or(1., |factor| factor.factor)
    }
}

/// Terms: `n-to-one`, and those of [`LogitTerms`].
pub struct Norm {
    spec: Spec,
    wants: Wants,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        Error::unless_within("method.copies", self.copies, 1..=1024)?;
        let scale = self.logit_scale.map(|logit_scale| HeadSpec::Standardised { logit_scale });
        scale.map_or(Ok(()), |head| head.check())?;
        check_weight("weight", self.weight)?;
        self.factors.iter().try_for_each(|factor| check_weight("factors", factor.factor))?;
        let epochs: Vec<usize> = self.factors.iter().map(|factor| factor.from).collect();
        if !epochs.is_empty()
            && (epochs[0] != 0 || !epochs.windows(2).all(|pair| pair[0] < pair[1]))
        {
            return Err(Error::bad_input(format!(
                "method.factors: expected rising epochs, the first of them 0, got {epochs:?}"
            )));
        }
        self.logit_terms().check()
    }

    /// The network with the branch over its last map.
    fn student(&self, network: NetworkSpec, teacher: Option<&dyn Model>) -> Result<NetworkSpec> {
        let teacher = teacher.ok_or_else(|| {
            Error::bad_input("method: this one needs a teacher, and there is none")
        })?;
        let channels = teacher.tap(LAST)?.channels;
        let Self { copies, logit_scale, .. } = *self;
        network.with_head(HeadSpec::Expanded { channels, copies, logit_scale })
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let teacher = context.teacher_model()?.tap(LAST)?;
        let expanded = context.student().taps().iter().find(|tap| tap.name == EXPANDED);
        let wide = self.copies * teacher.channels;
        let Some(expanded) = expanded.filter(|tap| tap.channels == wide) else {
            return Err(Error::bad_input(format!(
                "norm: expected a student with a branch of {wide} channels, {} times the teacher's, got another",
                self.copies
            )));
        };
        if !teacher.side().is_multiple_of(expanded.side().max(1)) {
            return Err(Error::bad_input(format!(
                "norm: expected a teacher's last map of a whole multiple of the student's {} pixels, got {}",
                expanded.side(),
                teacher.side()
            )));
        }
        let wants = Wants {
            student_taps: vec![EXPANDED.to_owned()],
            teaching: Teaching::Live { taps: vec![LAST.to_owned()] },
            ..Wants::default()
        };
        Ok(Box::new(Norm { spec: self.clone(), wants }))
    }
}

impl Distillation for Norm {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let teacher = step.teacher()?;
        // The student's are standardised by its head.
        let logits = match self.spec.logit_scale {
            Some(scale) => standardised(&teacher.logits, scale)?,
            None => teacher.logits.clone(),
        };
        let seen = Outputs { logits, taps: Vec::new() };
        let mut terms = self.spec.logit_terms().terms(&Step { teacher: Some(&seen), ..*step })?;
        terms.push(Term::teacher(
            "n-to-one",
            n_to_one(&step.student()?.taps[0], &teacher.taps[0])?,
            self.spec.weight * self.spec.factor(step.epoch),
        ));
        Ok(terms)
    }
}
