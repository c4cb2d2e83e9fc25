//! One stage of the teacher to one stage of the student: the experiment that motivates knowledge
//! review (Chen et al. 2021, section 3 and the table of transfers across stages).
//!
//! L = hard-weight · CE + weight · min(1, e / warm-up-epochs) · mean((P(S_j) − T_i)²) at epoch e,
//! counted from 0.
//!
//! S_j and T_i are levels of student and teacher as [`super::review`] counts them: the stages, and
//! the pooled vector as a map of one pixel. P is a 1×1 convolution without bias and a batch-norm,
//! resized to the teacher's map by repeating or dropping pixels. No program of the authors' runs
//! this experiment; the adapter is the plain part of theirs.

use candle_core::Tensor;
use kd_kernels::Activation;
use kd_kernels::upsample::upsample_nearest;
use serde::{Deserialize, Serialize};

use super::review::{Side, levels, map, size};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants, check_warm_up,
    check_weight, rise,
};
use crate::loss::hint;
use crate::model::layers::{ConvInit, ConvNorm, Maker, Window};
use crate::model::{Mode, Tap};
use crate::{Error, Result};

/// One pair of levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The student's level, counted from 1 at the input.
    pub student_level: usize,
    /// The teacher's level, counted from 1 at the input.
    pub teacher_level: usize,
    /// Weight of the distance.
    pub weight: f64,
    /// Epochs over which the weight rises from 0; 0 for none.
    pub warm_up_epochs: usize,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
    /// Where the student's map is taken.
    pub student_taps: Side,
    /// Where the teacher's map is taken.
    pub teacher_taps: Side,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }
}

/// Terms: `stage`, the distance of the two maps, and those of [`LogitTerms`].
pub struct CrossStage {
    spec: Spec,
    wants: Wants,
    logits: LogitTerms,
    projection: ConvNorm,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        check_warm_up(self.warm_up_epochs)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let student = level(
            "student-level",
            levels(context.student(), self.student_taps)?,
            self.student_level,
        )?;
        let teacher = level(
            "teacher-level",
            levels(context.teacher_model()?, self.teacher_taps)?,
            self.teacher_level,
        )?;
        let wants = Wants {
            student_taps: vec![student.name.clone()],
            teaching: Teaching::Live { taps: vec![teacher.name.clone()] },
            ..Wants::default()
        };
        let mut make = Maker::new(ConvInit::KaimingUniform, context.precision());
        let (vb, channels) = (context.vb().pp("projection"), (student.channels, teacher.channels));
        let projection = make.conv_norm(&vb, ["0", "1"], channels, Window::new(1, 1), 1)?;
        Ok(Box::new(CrossStage {
            spec: self.clone(),
            wants,
            logits: self.logit_terms(),
            projection,
        }))
    }
}

impl Distillation for CrossStage {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (map(&step.student()?.taps[0])?, map(&step.teacher()?.taps[0])?);
        let projected: Tensor =
            self.projection.forward(&student, None, Activation::None, Mode::Train(step.draws))?;
        let resized = upsample_nearest(&projected, size(&teacher)?)?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher(
            "stage",
            hint(&resized, &teacher)?,
            self.spec.weight * rise(step.epoch, self.spec.warm_up_epochs),
        ));
        Ok(terms)
    }
}

fn level<'a>(field: &str, levels: Vec<&'a Tap>, number: usize) -> Result<&'a Tap> {
    let found = number.checked_sub(1).and_then(|i| levels.get(i).copied());
    found.ok_or_else(|| {
        Error::bad_input(format!("method.{field}: expected 1 to {}, got {number}", levels.len()))
    })
}
