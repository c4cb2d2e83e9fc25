//! "A comprehensive overhaul of feature distillation" (Heo, Kim, Yun, Park, Kwak and Choi, ICCV
//! 2019), as mdistiller runs it on CIFAR.
//!
//! L = hard-weight · CE + weight · Σ_l stage-decay^(L − 1 − l) · D(r_l(S_l), T_l), where S_l and
//! T_l are the maps of stage l = 0, …, L − 1 of student and teacher, both before the activation,
//! r_l is a 1×1 convolution without bias and a batch-norm, and D the partial distance
//! [`overhaul()`] from the teacher's map cut off at its channels' [`margins`]. These follow from
//! weight and bias of the batch-norm that makes the teacher's map.
//!
//! Stages are aligned from the deepest; shallower ones of the network that has more are left out. A
//! larger map of the teacher is pooled to the student's size. mdistiller takes weight 0.001 and
//! stage-decay 0.5. Networks without taps before their activations, such as MobileNetV2 with its
//! linear bottlenecks, are refused.

use candle_core::Tensor;
use kd_kernels::Activation;
use serde::{Deserialize, Serialize};

use super::stages::{check_stage_decay, weighted_stages};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants, check_weight,
};
use crate::loss::overhaul;
use crate::loss::overhaul::margins;
use crate::model::layers::{ConvInit, ConvNorm, Maker, Window};
use crate::model::{Activated, Mode, Model, Tap};
use crate::{Error, Result};

/// The overhaul.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the distance.
    pub weight: f64,
    /// What a stage counts of what the stage behind it does, above 0 and at most 1.
    pub stage_decay: f64,
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

/// Terms: `overhaul`, and those of [`LogitTerms`].
pub struct Ofd {
    spec: Spec,
    wants: Wants,
    logits: LogitTerms,
    stages: Vec<Stage>,
}

/// Variables: `connector1` for the shallowest, and so on.
struct Stage {
    connector: ConvNorm,
    margins: Tensor,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        check_stage_decay(self.stage_decay)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let (student, teacher) =
            (before(context.student(), "student")?, before(context.teacher_model()?, "teacher")?);
        let count = student.len().min(teacher.len());
        let (student, teacher) =
            (&student[student.len() - count..], &teacher[teacher.len() - count..]);
        let mut stages = Vec::new();
        for (i, (s, t)) in student.iter().zip(teacher).enumerate() {
            if !t.side().is_multiple_of(s.side().max(1)) {
                let what = format!(
                    "ofd: expected a teacher's {} of a whole multiple of the student's {} pixels",
                    t.name,
                    s.side()
                );
                return Err(Error::bad_input(format!("{what}, got {}", t.side())));
            }
            let Some(norm) = &t.norm else {
                return Err(Error::bad_input(format!(
                    "ofd: expected a teacher that names the batch-norm of {}, got one that does not",
                    t.name
                )));
            };
            let tensor = |part: &str| context.teacher()?.tensor(&format!("{norm}.{part}"));
            let vb = context.vb().pp(format!("connector{}", i + 1));
            let mut make = Maker::new(ConvInit::HeNormal, context.precision());
            stages.push(Stage {
                connector: make.conv_norm(
                    &vb,
                    ["0", "1"],
                    (s.channels, t.channels),
                    Window::new(1, 1),
                    s.side(),
                )?,
                margins: margins(tensor("weight")?, tensor("bias")?)?,
            });
        }
        let names = |taps: &[&Tap]| taps.iter().map(|tap| tap.name.clone()).collect::<Vec<_>>();
        let wants = Wants {
            student_taps: names(student),
            teaching: Teaching::Live { taps: names(teacher) },
            ..Wants::default()
        };
        Ok(Box::new(Ofd { spec: self.clone(), wants, logits: self.logit_terms(), stages }))
    }
}

impl Distillation for Ofd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (&step.student()?.taps, &step.teacher()?.taps);
        let mut distances = Vec::new();
        for ((stage, s), t) in self.stages.iter().zip(student).zip(teacher) {
            let connected =
                stage.connector.forward(s, None, Activation::None, Mode::Train(step.draws))?;
            distances.push(overhaul(&connected, t, &stage.margins)?);
        }
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher(
            "overhaul",
            weighted_stages(distances, self.spec.stage_decay)?,
            self.spec.weight,
        ));
        Ok(terms)
    }
}

/// The stages' maps before their activations.
///
/// # Errors
/// Bad input when the network has none, or does not tell the two sides of an activation apart.
fn before<'a>(network: &'a dyn Model, who: &str) -> Result<Vec<&'a Tap>> {
    let (before, after) = (network.stages(Activated::Before), network.stages(Activated::After));
    if let Some(tap) = before.iter().zip(&after).find(|(b, a)| b.name == a.name).map(|(tap, _)| tap)
    {
        return Err(Error::bad_input(format!(
            "ofd: expected a {who} with a tap before the activation of {}, got none",
            tap.name
        )));
    }
    if before.is_empty() {
        return Err(Error::bad_input(format!("ofd: expected a {who} with stages, got none")));
    }
    Ok(before)
}
