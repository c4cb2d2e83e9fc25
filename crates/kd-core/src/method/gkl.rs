//! "Decoupled Kullback-Leibler divergence loss" (IKL; Cui et al. 2024) and "Generalized
//! Kullback-Leibler divergence loss" (GKL; Cui et al. 2026).
//!
//! L = hard-weight · CE + min(1, e / warm-up-epochs) · (alpha · [`soft_cross_entropy()`] at T + beta
//! · [`logit_differences`]) at epoch e, counted from 1. The second compares, for every pair of
//! classes, the difference of their logits, weighed by w_j·w_k. Logits are `[b, c]`, and neither
//! part carries T². The weights are, to the power γ, the teacher's predictions at
//! `weights-temperature`, or, with `class-means`, those of the case's class on average over the
//! epoch before, 1/c in the first.
//!
//! IKL is γ = 1; without class means it takes 100 for `weights-temperature` on CIFAR-100, the
//! default of its program, which the settings of the pairs leave as it is. GKL takes 4. Both take T
//! = 4, hard-weight 1 and a warm-up of 20 epochs.
//!
//! Source: the papers and their official code. No deviation, but that a class without an image in
//! an epoch keeps its mean, where the program divides by 0.

use serde::{Deserialize, Serialize};

use super::class_means::ClassMeans;
use super::on_logits::wants_logits;
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_exponent,
    check_temperature, check_warm_up, check_weight, rise,
};
use crate::Result;
use crate::loss::logit_differences::{logit_differences, prediction_weights};
use crate::loss::soft_cross_entropy;

/// Divergence in two parts, the one on differences of logits. Terms: `soft-cross-entropy`,
/// `differences`, and those of [`LogitTerms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of the cross-entropy with soft targets.
    pub temperature: f64,
    /// Weight of the cross-entropy with soft targets.
    pub alpha: f64,
    /// Weight of the differences of logits.
    pub beta: f64,
    /// The temperature of the predictions that weigh the classes.
    pub weights_temperature: f64,
    /// The power γ of the predictions that weigh the classes: 1 for IKL.
    pub exponent: f64,
    /// Whether the classes weigh by the mean prediction of the case's class.
    pub class_means: bool,
    /// Epochs over which alpha and beta rise; 0 for none.
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

/// The method of a run, with its means.
struct Gkl {
    spec: Spec,
    wants: Wants,
    means: Option<ClassMeans>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_temperature(self.weights_temperature)?;
        check_weight("alpha", self.alpha)?;
        check_weight("beta", self.beta)?;
        check_exponent("exponent", self.exponent)?;
        check_warm_up(self.warm_up_epochs)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let wants = wants_logits(context, "gkl")?;
        let means = self
            .class_means
            .then(|| ClassMeans::new(context, self.weights_temperature))
            .transpose()?;
        Ok(Box::new(Gkl { spec: self.clone(), wants, means }))
    }
}

impl Distillation for Gkl {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let spec = &self.spec;
        let (student, teacher) = (&step.student()?.logits, &step.teacher()?.logits);
        let weights = match &self.means {
            Some(means) => means.of_cases(step)?.powf(spec.exponent)?,
            None => prediction_weights(teacher, spec.weights_temperature, spec.exponent)?,
        };
        let rise = rise(step.epoch + 1, spec.warm_up_epochs);
        let mut terms = spec.logit_terms().terms(step)?;
        terms.push(Term::teacher(
            "soft-cross-entropy",
            soft_cross_entropy(student, teacher, spec.temperature)?,
            spec.alpha * rise,
        ));
        terms.push(Term::teacher(
            "differences",
            logit_differences(student, teacher, &weights)?,
            spec.beta * rise,
        ));
        Ok(terms)
    }

    fn remember(&self, step: &Step) -> Result<()> {
        self.means.as_ref().map_or(Ok(()), |means| means.remember(step))
    }
}
