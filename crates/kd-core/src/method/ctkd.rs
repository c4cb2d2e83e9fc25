//! "Curriculum temperature for knowledge distillation" (CTKD; Li et al. 2023), with one temperature
//! for all cases.
//!
//! L = soft-weight · [`softened_kl_at`] T + hard-weight · CE, with T = least-temperature + span ·
//! σ(θ) and one variable θ, `method.theta`, which begins at `start`. θ ascends: at epoch e, counted
//! from 1, its gradient is that of L times −λ, λ = (1 − cos(π · min(e, E)/E))/2 and E
//! `reversal-epochs`, so that the student's task gets harder as it learns. Logits are `[b, c]`.
//!
//! With `standardised`, the divergence compares standardised logits ("Logit standardization in
//! knowledge distillation", Sun et al. 2024).
//!
//! Source: the paper and its official code, which has least-temperature 1, span 20, start 1, E =
//! 10, soft-weight 0.9 and hard-weight 0.1. θ has the optimiser of the student, weight decay
//! included. No deviation. The paper's second form, a temperature for each case, is not here.

use std::f64::consts::PI;

use candle_core::Tensor;
use candle_nn::Init;
use serde::{Deserialize, Serialize};

use super::on_logits::wants_logits;
use super::soft_targets::check_soft_and_hard;
use super::{
    Context, Distillation, LogitTerms, Recipe, Step, Term, Wants, check_temperature, compared, rise,
};
use crate::loss::learnt_temperature::{reverse_gradient, softened_kl_at};
use crate::{Error, Result};

/// A temperature that works against the student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature is above this.
    pub least_temperature: f64,
    /// How far above it the temperature may be.
    pub span: f64,
    /// What θ begins with: T begins at least-temperature + span / (1 + e^−start).
    pub start: f64,
    /// Epochs over which the strength of the ascent rises to that of the gradient; 0 for none.
    pub reversal_epochs: usize,
    /// Weight of the divergence from the teacher, which already carries T².
    pub soft_weight: f64,
    /// Weight of the cross-entropy with the labels at T = 1.
    pub hard_weight: f64,
    /// Whether the divergence is of [`standardised`](crate::loss::standardised) logits; false where
    /// an experiment file does not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standardised: bool,
}

/// Terms: `hard`, where its weight is not 0, and `soft`.
struct Ctkd {
    spec: Spec,
    wants: Wants,
    theta: Tensor,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_soft_and_hard(self.soft_weight, self.hard_weight)?;
        check_temperature(self.least_temperature)?;
        check_temperature(self.least_temperature + self.span)?;
        if !(self.span >= 0. && self.start.abs() <= 50.) {
            let expected = "expected method.span of at least 0 and method.start from -50 to 50";
            return Err(Error::bad_input(format!(
                "{expected}, got {} and {}",
                self.span, self.start
            )));
        }
        Error::unless_within("method.reversal-epochs", self.reversal_epochs, 0..=1_000_000)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let wants = wants_logits(context, "ctkd")?;
        let theta = context.vb().get_with_hints(1, "theta", Init::Const(self.start))?;
        Ok(Box::new(Ctkd { spec: self.clone(), wants, theta }))
    }
}

impl Spec {
    /// λ of an epoch, counted from 0.
    fn strength(&self, epoch: usize) -> f64 {
        (1. - (PI * rise(epoch + 1, self.reversal_epochs)).cos()) / 2.
    }
}

impl Ctkd {
    /// T, through which θ ascends.
    fn temperature(&self, epoch: usize) -> Result<Tensor> {
        let theta = reverse_gradient(&self.theta, self.spec.strength(epoch))?;
        let sigmoid = (theta.neg()?.exp()? + 1.)?.recip()?;
        Ok(sigmoid.affine(self.spec.span, self.spec.least_temperature)?)
    }
}

impl Distillation for Ctkd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = compared(step, self.spec.standardised)?;
        let soft = softened_kl_at(&student, &teacher, &self.temperature(step.epoch)?)?;
        let mut terms =
            LogitTerms { hard_weight: self.spec.hard_weight, soft: None }.terms(step)?;
        terms.push(Term::teacher("soft", soft, self.spec.soft_weight));
        Ok(terms)
    }
}
