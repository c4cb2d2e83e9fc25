//! "Information theoretic representation distillation" (Miles, Lopez-Rodriguez and Mikolajczyk,
//! BMVC 2022).
//!
//! L = hard-weight · CE + correlation-weight · C(E(s), t) + mutual-weight · M(s', t), with the
//! pooled vectors s and t of student and teacher, the losses C, [`feature_correlation`], and M,
//! [`mutual_information`], and a dense layer E from the student's width to the teacher's, with
//! bias, which trains and is dropped. s' is E(s) where the widths differ, and s itself where they
//! agree: M compares images, not features.
//!
//! Source: sections 3.2 and 3.3 and the official program: correlation-weight 2, mutual-weight 1 and
//! alpha 1.01 for every pair. A batch of one image has no correlations and is an error.

use serde::{Deserialize, Serialize};

use super::pairs::Pairs;
use super::{Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_weight};
use crate::loss::information_theoretic::{feature_correlation, mutual_information};
use crate::model::Mode;
use crate::model::layers::{ConvInit, Dense, DenseInit, Maker};
use crate::{Error, Result};

/// Correlations of features and alikeness of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the correlation of features.
    pub correlation_weight: f64,
    /// Weight of what the student says of the images beside the teacher.
    pub mutual_weight: f64,
    /// The order α of the correlation's entropy.
    pub alpha: f64,
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

/// Terms: `correlation`, `mutual`, and those of [`LogitTerms`].
pub struct Itrd {
    spec: Spec,
    wants: Wants,
    embed: Dense,
    /// Whether the two widths differ.
    differ: bool,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("correlation-weight", self.correlation_weight)?;
        check_weight("mutual-weight", self.mutual_weight)?;
        // The distances are at most 2: beyond, their power is no number of float32.
        if !(self.alpha > 0. && self.alpha <= 50.) {
            return Err(Error::bad_input(format!(
                "method.alpha: expected a number above 0 and at most 50, got {}",
                self.alpha
            )));
        }
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let pairs = Pairs::pooled(context)?;
        let [from, to] =
            [context.student().tap("pooled")?, context.teacher_model()?.tap("pooled")?]
                .map(|tap| tap.channels);
        let embed = Maker::new(ConvInit::Uniform, context.precision()).dense(
            context.vb().pp("embed"),
            from,
            to,
            DenseInit::Uniform,
        )?;
        let (spec, wants) = (self.clone(), pairs.wants());
        Ok(Box::new(Itrd { spec, wants, embed, differ: from != to }))
    }
}

impl Distillation for Itrd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (&step.student()?.taps[0], &step.teacher()?.taps[0]);
        let embedded = self.embed.forward(student, Mode::Train(step.draws))?;
        let compared = if self.differ { &embedded } else { student };
        let Spec { correlation_weight, mutual_weight, alpha, .. } = self.spec;
        let mut terms = self.spec.logit_terms().terms(step)?;
        terms.push(Term::teacher(
            "correlation",
            feature_correlation(&embedded, teacher, alpha)?,
            correlation_weight,
        ));
        terms.push(Term::teacher("mutual", mutual_information(compared, teacher)?, mutual_weight));
        Ok(terms)
    }
}
