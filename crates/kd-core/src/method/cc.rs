//! "Correlation congruence for knowledge distillation" (Peng et al. 2019), as the CRD benchmark has
//! it.
//!
//! L = hard-weight · CE + weight · C(E_S(S), E_T(T)), with the [`correlation_congruence`] loss C,
//! the pooled vectors S and T of student and teacher, and two embeddings x ↦ W·x + b of one width,
//! which are both trained.
//!
//! Source: RepDistiller, whose published numbers are of this form: weight 0.02, width 128.
//! Deviation from the paper: see the loss. Since the teacher's embedding is trained too, embeddings
//! that are one constant would be a minimum.

use serde::{Deserialize, Serialize};

use super::pairs::Pairs;
use super::{Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_weight};
use crate::loss::correlation_congruence;
use crate::model::Mode;
use crate::model::layers::{ConvInit, Dense, DenseInit, Maker};
use crate::{Error, Result};

/// Correlations of neighbours in the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the loss.
    pub weight: f64,
    /// Width of the embeddings.
    pub width: usize,
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

/// Terms: `correlation`, and those of [`LogitTerms`].
pub struct Cc {
    wants: Wants,
    weight: f64,
    logits: LogitTerms,
    student: Dense,
    teacher: Dense,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        Error::unless_within("method.width", self.width, 1..=65_536)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let pairs = Pairs::pooled(context)?;
        let [student, teacher] =
            [context.student().tap("pooled")?, context.teacher_model()?.tap("pooled")?]
                .map(|tap| tap.channels);
        let mut make = Maker::new(ConvInit::Uniform, context.precision());
        let mut embedding = |name: &str, features| {
            make.dense(context.vb().pp(name), features, self.width, DenseInit::Uniform)
        };
        let (student, teacher) = (embedding("embed_s", student)?, embedding("embed_t", teacher)?);
        Ok(Box::new(Cc {
            wants: pairs.wants(),
            weight: self.weight,
            logits: self.logit_terms(),
            student,
            teacher,
        }))
    }
}

impl Distillation for Cc {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let mode = Mode::Train(step.draws);
        let student = self.student.forward(&step.student()?.taps[0], mode)?;
        let teacher = self.teacher.forward(&step.teacher()?.taps[0].detach(), mode)?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher(
            "correlation",
            correlation_congruence(&student, &teacher)?,
            self.weight,
        ));
        Ok(terms)
    }
}
