//! "Streamlined knowledge distillation" (SKD, CVPR 2026): soft targets, and the direction of the
//! gap between what student and teacher say of the images of a batch with each other.
//!
//! L = hard-weight · CE + soft-weight · c · KL_T + direction-weight · c' · [`gram_direction()`], with
//! the divergence [`softened_kl`], which carries T², and the shares c and c' of the batch's images
//! and classes of which the teacher is no surer than of the median one ([`unsure_shares`]). Logits
//! are `[b, c]`.
//!
//! Source: the official program: T = 4, ridge 0.1, soft-weight and direction-weight 0.9 and
//! hard-weight 0.1; for resnet32x4 and resnet8x4 all three weights are 0.5.
//!
//! A quirk of the program, on which its numbers rest, is kept here: the masks of images and classes
//! of which the teacher is not sure multiply losses that are one number already, and so only scale
//! them, by c and c'. torchdistill's version leaves the masks out, and the division of the gap by
//! the number of classes.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::on_logits::{OnLogits, on_logits};
use super::soft_targets::check_soft_and_hard;
use super::{
    Context, Distillation, LogitTerms, Recipe, Step, Term, check_temperature, check_weight,
};
use crate::loss::multi_level::unsure_shares;
use crate::loss::{gram_direction, softened_kl};
use crate::{Error, Result};

/// Soft targets and the direction of a gap. Terms: `hard`, where its weight is not 0, `soft` and
/// `direction`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T of the soft targets.
    pub temperature: f64,
    /// What is added to the variances of the gap's rows (λ).
    pub ridge: f64,
    /// Weight of the divergence from the teacher, which already carries T².
    pub soft_weight: f64,
    /// Weight of the direction.
    pub direction_weight: f64,
    /// Weight of the cross-entropy with the labels at T = 1.
    pub hard_weight: f64,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_soft_and_hard(self.soft_weight, self.hard_weight)?;
        check_weight("direction-weight", self.direction_weight)?;
        if !(1e-6..=1e6).contains(&self.ridge) {
            return Err(Error::bad_input(format!(
                "method.ridge: expected a number from 1e-6 to 1e6, got {}",
                self.ridge
            )));
        }
        check_temperature(self.temperature)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        on_logits(self, context, "skd")
    }
}

impl OnLogits for Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: None }
    }

    fn own_terms(&self, student: &Tensor, teacher: &Tensor, _: &Step) -> Result<Vec<Term>> {
        let [images, classes] = unsure_shares(teacher)?;
        let soft = (softened_kl(student, teacher, self.temperature)? * images)?;
        let direction = (gram_direction(student, teacher, self.ridge)? * classes)?;
        Ok(vec![
            Term::teacher("soft", soft, self.soft_weight),
            Term::teacher("direction", direction, self.direction_weight),
        ])
    }
}
