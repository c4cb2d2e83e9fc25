//! Distillation of Hinton, Vinyals and Dean 2015, section 2.
//!
//! L = soft-weight · T²/b · Σ KL(softmax(t/T) ‖ softmax(s/T)) + hard-weight · CE, with the logits s
//! and t `[b, c]` of student and teacher.
//!
//! With `standardised`, the divergence compares standardised logits ("Logit standardization in
//! knowledge distillation", Sun et al. 2024); CE is of the logits as they are. With
//! `entropy-weights`, the divergence of case i counts w_i times ("EA-KD: entropy-based adaptive
//! knowledge distillation", Su et al. 2025; see [`EntropyWeights`]). With both, the weights are of
//! the standardised logits, as in the official code of the second.

use serde::{Deserialize, Serialize};

use super::{
    Context, Distillation, EntropyWeights, Recipe, Step, Teaching, Term, Wants, check_temperature,
    compared,
};
use crate::loss::entropy_weights::weighted_softened_kl;
use crate::loss::{cross_entropy, softened_kl};
use crate::{Error, Result};

/// Matches the teacher's softened probabilities. The default, for the keys that a program does not
/// name, is of no use alone: its temperature of 0 is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of both softmaxes.
    pub temperature: f64,
    /// Weight of the divergence from the teacher, which already carries T².
    pub soft_weight: f64,
    /// Weight of the cross-entropy with the labels at T = 1; the paper found a considerably lower
    /// one best.
    pub hard_weight: f64,
    /// Whether the divergence is of [`standardised`](crate::loss::standardised) logits; false where
    /// an experiment file does not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standardised: bool,
    /// How much each case weighs in the divergence; alike where an experiment file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy_weights: Option<EntropyWeights>,
}

/// Terms: `soft`, T² times the KL divergence of the student's softmax at T from the teacher's (the
/// paper's cross-entropy with soft targets less a constant), and, where its weight is not 0,
/// `hard`, the cross-entropy with the labels at T = 1. Both are means over the batch, so the
/// weights keep their meaning when T changes.
pub struct SoftTargets {
    spec: Spec,
    wants: Wants,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_soft_and_hard(self.soft_weight, self.hard_weight)?;
        self.entropy_weights.map_or(Ok(()), |weights| weights.check())?;
        check_temperature(self.temperature)
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Distillation>> {
        Ok(Box::new(SoftTargets::new(self.clone())))
    }
}

impl SoftTargets {
    /// The method; [`Recipe::check`] says whether the numbers make sense.
    pub fn new(spec: Spec) -> Self {
        Self { spec, wants: Wants { teaching: Teaching::Logits, ..Wants::default() } }
    }
}

impl Distillation for SoftTargets {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let Spec { temperature, soft_weight, hard_weight, standardised, entropy_weights } =
            self.spec;
        let logits = &step.student()?.logits;
        let (student, teacher) = compared(step, standardised)?;
        let soft = match entropy_weights {
            Some(weights) => {
                let weights = weights.of_cases(&student, &teacher)?;
                weighted_softened_kl(&student, &teacher, temperature, &weights)?
            }
            None => softened_kl(&student, &teacher, temperature)?,
        };
        let mut terms = vec![Term::teacher("soft", soft, soft_weight)];
        if hard_weight != 0. {
            terms.push(Term::task("hard", cross_entropy(logits, step.labels)?, hard_weight));
        }
        Ok(terms)
    }
}

/// Checks the weights of a method on logits alone.
///
/// # Errors
/// Bad input that names both when one is no finite number of at least 0, or both are 0.
pub(super) fn check_soft_and_hard(soft: f64, hard: f64) -> Result<()> {
    if soft >= 0. && hard >= 0. && (soft + hard).is_finite() && soft + hard > 0. {
        return Ok(());
    }
    let what = "method: expected finite weights of at least 0, not both 0, got";
    Err(Error::bad_input(format!("{what} soft-weight {soft}, hard-weight {hard}")))
}
