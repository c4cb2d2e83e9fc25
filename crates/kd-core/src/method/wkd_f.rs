//! "Wasserstein distance rivals Kullback-Leibler divergence for knowledge distillation" (Lv, Yang
//! and Li, NeurIPS 2024), on features: WKD-F.
//!
//! L = hard-weight · CE + δ(e) · weight · (mean-weight · M(A(S), T) + D(A(S), T)) at epoch e,
//! counted from 1, with the maps S and T of the last stages of student and teacher, the distances M
//! of the means and D of the standard deviations of their channels over the pixels
//! ([`gaussian_distances`]) and what is left of the weight, δ ([`Decay`]). A is a convolution with
//! bias, 1×1 where the maps are of one size, a batch-norm and a ReLU (see `regressor.rs`); it
//! trains and is dropped.
//!
//! Source: section 3.2 and the official program: weight 0.08, mean-weight 4 and grid 1 for
//! resnet32x4 and resnet8x4, 0.3, 3 and 4 for wrn-40-2 and shufflenet-v1; the weight falls from
//! epoch 150 on, to 0 at the last, 240. T is rectified, as the program has it for wide residual
//! networks, whose stages end in a sum.
//!
//! Deviation: the program rectifies S too, which is something else for a wide residual student
//! alone; no number of one is published.

use candle_core::Tensor;
use kd_kernels::Activation;
use kd_kernels::relu::relu;
use serde::{Deserialize, Serialize};

use super::pairs::Pairs;
use super::regressor::Regressor;
use super::{
    Context, Decay, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_weight,
};
use crate::loss::gaussian::{fits, gaussian_distances};
use crate::model::Mode;
use crate::{Error, Result};

/// The most cells in a row of a grid.
const FINEST: usize = 32;

/// Features as normal distributions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of both distances.
    pub weight: f64,
    /// What the distance of the means counts beside that of the deviations.
    pub mean_weight: f64,
    /// Cells in a row of the grid: 1 for the whole map.
    pub grid: usize,
    /// The epochs over which the weight falls.
    pub decay: Decay,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }

    fn features(&self) -> Features {
        let Self { weight, mean_weight, grid, .. } = *self;
        Features { weight, mean_weight, grid }
    }
}

/// These features beside another method: the fields are those of [`Spec`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Features {
    /// Weight of both distances.
    pub weight: f64,
    /// What the distance of the means counts beside that of the deviations.
    pub mean_weight: f64,
    /// Cells in a row of the grid: 1 for the whole map.
    pub grid: usize,
}

impl Features {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the field, behind `prefix`, what it must be and what it is.
    pub(super) fn check(self, prefix: &str) -> Result<()> {
        check_weight(&format!("{prefix}weight"), self.weight)?;
        check_weight(&format!("{prefix}mean-weight"), self.mean_weight)?;
        Error::unless_within(&format!("method.{prefix}grid"), self.grid, 1..=FINEST)
    }
}

/// What the features add to a loss: the terms `means` and `deviations`.
pub(super) struct FeatureTerms {
    features: Features,
    adapter: Regressor,
    /// What the terms want of a step.
    pub wants: Wants,
}

impl FeatureTerms {
    /// For the last stages of student and teacher.
    ///
    /// # Errors
    /// Bad input, which begins with the name of the `method`, when a network has no stages, or the
    /// maps do not fit each other or the grid.
    pub fn new(context: &Context, features: Features, method: &str) -> Result<Self> {
        let pairs = Pairs::last_stage(context, method)?;
        let expected = format!("{method}: expected networks with stages");
        let (student, teacher) =
            pairs.iter().next().ok_or_else(|| Error::bad_input(format!("{expected}, got none")))?;
        let (side, grid) = (teacher.side(), features.grid);
        if !fits(side, side, grid) {
            return Err(Error::bad_input(format!(
                "{method}: expected a grid whose cells have at least 2 of the teacher's {side}x{side} pixels and do not overlap, got {grid}"
            )));
        }
        let vb = context.vb().pp("features");
        let act = Activation::Relu;
        let adapter = Regressor::new(&vb, context.precision(), method, student, teacher, act)?;
        Ok(Self { features, adapter, wants: pairs.wants() })
    }

    /// The terms of one step, of which `share` of the weight is left.
    ///
    /// # Errors
    /// When the step lacks the taps of [`FeatureTerms::wants`].
    pub fn terms(&self, step: &Step, share: f64) -> Result<Vec<Term>> {
        let (student, teacher) = (&step.student()?.taps[0], &step.teacher()?.taps[0]);
        let adapted: Tensor = self.adapter.forward(student, Mode::Train(step.draws))?;
        let Features { weight, mean_weight, grid } = self.features;
        let [means, deviations] = gaussian_distances(&adapted, &relu(teacher)?, grid)?;
        let weight = weight * share;
        Ok(vec![
            Term::teacher("means", means, weight * mean_weight),
            Term::teacher("deviations", deviations, weight),
        ])
    }
}

/// Terms: `means`, `deviations`, and those of [`LogitTerms`].
pub struct WkdF {
    logits: LogitTerms,
    decay: Decay,
    features: FeatureTerms,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        self.features().check("")?;
        self.decay.check()?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let features = FeatureTerms::new(context, self.features(), "wkd-f")?;
        Ok(Box::new(WkdF { logits: self.logit_terms(), decay: self.decay, features }))
    }
}

impl Distillation for WkdF {
    fn wants(&self) -> &Wants {
        &self.features.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let mut terms = self.logits.terms(step)?;
        terms.extend(self.features.terms(step, self.decay.share(step.epoch + 1))?);
        Ok(terms)
    }
}
