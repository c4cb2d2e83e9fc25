//! "Relational knowledge distillation" (Park, Kim, Lu and Cho 2019), section 3.2.
//!
//! L = hard-weight · CE + distance-weight · D(S, T) + angle-weight · A(S, T), with the
//! [`relational_distance`] D and the [`relational_angle`] A of the pooled vectors S and T of
//! student and teacher.
//!
//! Source: the paper; the weights (25 and 50) and the tap are RepDistiller's.
//!
//! [`relational_distance`]: crate::loss::relational::relational_distance
//! [`relational_angle`]: crate::loss::relational::relational_angle

use serde::{Deserialize, Serialize};

use super::pairs::Pairs;
use super::{Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_weight};
use crate::Result;
use crate::loss::relational::relations;

/// Distances of pairs and angles of triples of the pooled vectors of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the distances.
    pub distance_weight: f64,
    /// Weight of the angles.
    pub angle_weight: f64,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside them.
    pub soft: Option<Soft>,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }
}

/// Terms: `distance`, `angle`, and those of [`LogitTerms`].
pub struct Rkd {
    wants: Wants,
    weights: [f64; 2],
    logits: LogitTerms,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("distance-weight", self.distance_weight)?;
        check_weight("angle-weight", self.angle_weight)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let weights = [self.distance_weight, self.angle_weight];
        Ok(Box::new(Rkd {
            wants: Pairs::pooled(context)?.wants(),
            weights,
            logits: self.logit_terms(),
        }))
    }
}

impl Distillation for Rkd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let [distance, angle] = relations(&step.student()?.taps[0], &step.teacher()?.taps[0])?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher("distance", distance, self.weights[0]));
        terms.push(Term::teacher("angle", angle, self.weights[1]));
        Ok(terms)
    }
}
