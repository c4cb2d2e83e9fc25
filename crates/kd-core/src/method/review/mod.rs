//! "Distilling knowledge via knowledge review" (Chen, Liu, Zhao and Jia, CVPR 2021): deeper stages
//! of the student, brought up to a shallower one, learn from the teacher's shallower stage.
//!
//! L = hard-weight · CE + weight · min(1, e / warm-up-epochs) · Σ_j D(F̂_j, T_j) at epoch e, counted
//! from 0.
//!
//! The levels j are the stages of both networks, from the input to the output, and the pooled
//! vectors as maps of one pixel. T_j is the teacher's map, F̂_j what the student makes of its levels
//! j, j + 1, …, n, and D the [`hierarchical_context()`] loss or the mean squared distance. How F̂
//! comes about is the [`Structure`]; with residual learning (section 3.2) each level is fused with
//! the outcome of the level behind it by attention (`fusion.rs`).
//!
//! Source: sections 3.1 to 3.4 and the official program for CIFAR, which decides what the paper
//! leaves open: the student's maps are taken after the activation and the teacher's before it, the
//! pooled vector is a level, and the weight warms up. Both sides are fields of the specification.
//! Levels are aligned from the deepest; of a network that has more than the other, the shallowest
//! are left out (the paper has no such pair).

mod fusion;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants, check_warm_up,
    check_weight, rise,
};
use crate::loss::{hierarchical_context, hint};
use crate::model::{Activated, Mode, Model, Tap};
use crate::{Error, Result};
use fusion::{Fusion, Projection};

/// How the student's levels are brought together: the rows of the paper's ablation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// No review: each level learns from the teacher's same level.
    SameLevel,
    /// Review without residual learning: every level i ≥ j, with a projection for each pair, learns
    /// from the teacher's level j (section 3.1: the distances of all pairs are summed).
    Pairs,
    /// Residual learning: a level is fused with the outcome of the level behind it (section 3.2).
    Residual,
}

/// How two levels become one where the structure is residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fuse {
    /// Their sum.
    Sum,
    /// Attention-based fusion (ABF, section 3.3).
    Attention,
}

/// The distance of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// The mean squared distance.
    Squared,
    /// The hierarchical context loss (HCL, section 3.4).
    Hierarchical,
}

/// On which side of the activation a network's maps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Before it.
    Before,
    /// After it.
    After,
}

/// Knowledge review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the review (λ).
    pub weight: f64,
    /// Epochs over which the weight rises from 0; 0 for none.
    pub warm_up_epochs: usize,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
    /// How levels are brought together.
    pub structure: Structure,
    /// How two become one; only a residual structure fuses.
    pub fusion: Fuse,
    /// The distance of maps.
    pub distance: Distance,
    /// Most channels of a fused level.
    pub channels: usize,
    /// Where the student's maps are taken.
    pub student_taps: Side,
    /// Where the teacher's maps are taken.
    pub teacher_taps: Side,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }
}

/// Terms: `review`, the sum of the distances of all levels, and those of [`LogitTerms`].
pub struct Review {
    spec: Spec,
    wants: Wants,
    logits: LogitTerms,
    levels: Levels,
}

/// The adapters, deepest level first, as the review goes.
enum Levels {
    /// One a level.
    Same(Vec<Projection>),
    /// For the k-th level from the deepest, a projection to each of the teacher's levels from its
    /// own on to the shallowest.
    Pairs(Vec<Vec<Projection>>),
    Residual(Vec<Fusion>),
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        check_warm_up(self.warm_up_epochs)?;
        Error::unless_within("method.channels", self.channels, 1..=65_536)?;
        if self.structure != Structure::Residual && self.fusion == Fuse::Attention {
            return Err(Error::bad_input(
                "method.fusion: expected sum where the structure is not residual, got attention",
            ));
        }
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let student = levels(context.student(), self.student_taps)?;
        let teacher = levels(context.teacher_model()?, self.teacher_taps)?;
        // Aligned from the deepest: the shallowest of the network that has more are left out.
        let count = student.len().min(teacher.len());
        let (student, teacher) =
            (&student[student.len() - count..], &teacher[teacher.len() - count..]);
        let names = |taps: &[&Tap]| taps.iter().map(|tap| tap.name.clone()).collect::<Vec<_>>();
        let wants = Wants {
            student_taps: names(student),
            teaching: Teaching::Live { taps: names(teacher) },
            ..Wants::default()
        };
        Ok(Box::new(Review {
            spec: self.clone(),
            wants,
            logits: self.logit_terms(),
            levels: self.adapters(context, student, teacher)?,
        }))
    }
}

impl Spec {
    fn adapters(&self, context: &Context, student: &[&Tap], teacher: &[&Tap]) -> Result<Levels> {
        let mid = self.channels.min(student.last().map_or(1, |tap| tap.channels));
        let both = || student.iter().rev().zip(teacher.iter().rev()).enumerate();
        let vb = |k: usize| context.vb().pp(format!("abf{k}"));
        let precision = context.precision();
        match self.structure {
            Structure::SameLevel => both()
                .map(|(k, (s, t))| Projection::new(&vb(k), precision, s.channels, mid, t.channels))
                .collect::<Result<_>>()
                .map(Levels::Same),
            Structure::Pairs => {
                let onto = |k: usize, s: &Tap| {
                    let shallower = teacher.iter().rev().enumerate().skip(k);
                    shallower
                        .map(|(to, t)| {
                            Projection::new(
                                &vb(k).pp(format!("to{to}")),
                                precision,
                                s.channels,
                                mid,
                                t.channels,
                            )
                        })
                        .collect()
                };
                both().map(|(k, (s, _))| onto(k, s)).collect::<Result<_>>().map(Levels::Pairs)
            }
            Structure::Residual => {
                let attends = |k: usize| k > 0 && self.fusion == Fuse::Attention;
                let level = |(k, (s, t)): (usize, (&&Tap, &&Tap))| {
                    Fusion::new(&vb(k), precision, s.channels, mid, t.channels, attends(k))
                };
                both().map(level).collect::<Result<_>>().map(Levels::Residual)
            }
        }
    }
}

impl Distillation for Review {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (maps(&step.student()?.taps)?, maps(&step.teacher()?.taps)?);
        let distances = self.distances(&student, &teacher, Mode::Train(step.draws))?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher(
            "review",
            distances,
            self.spec.weight * rise(step.epoch, self.spec.warm_up_epochs),
        ));
        Ok(terms)
    }
}

impl Review {
    /// The sum over the levels; `student` and `teacher` from the deepest to the shallowest.
    fn distances(&self, student: &[Tensor], teacher: &[Tensor], mode: Mode) -> Result<Tensor> {
        let mut parts: Vec<Tensor> = Vec::new();
        match &self.levels {
            Levels::Same(projections) => {
                for ((projection, s), t) in projections.iter().zip(student).zip(teacher) {
                    parts.push(self.distance(&projection.forward(s, size(t)?, mode)?, t)?);
                }
            }
            Levels::Pairs(levels) => {
                for (k, (projections, s)) in levels.iter().zip(student).enumerate() {
                    for (projection, t) in projections.iter().zip(&teacher[k..]) {
                        parts.push(self.distance(&projection.forward(s, size(t)?, mode)?, t)?);
                    }
                }
            }
            Levels::Residual(fusions) => {
                let mut residual: Option<Tensor> = None;
                for ((fusion, s), t) in fusions.iter().zip(student).zip(teacher) {
                    let fused = fusion.forward(s, residual.as_ref(), size(t)?, mode)?;
                    parts.push(self.distance(&fused.out, t)?);
                    residual = Some(fused.residual);
                }
            }
        }
        let mut parts = parts.into_iter();
        let first = parts
            .next()
            .ok_or_else(|| Error::bad_input("review: expected a level at least, got none"))?;
        Ok(parts.try_fold(first, |sum, part| sum + part)?)
    }

    fn distance(&self, student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
        Ok(match self.spec.distance {
            Distance::Squared => hint(student, teacher)?,
            Distance::Hierarchical => hierarchical_context(student, teacher)?,
        })
    }
}

/// The levels of a network, from the input to the output: its stages and the pooled vector.
pub(super) fn levels(network: &dyn Model, side: Side) -> Result<Vec<&Tap>> {
    let activated = match side {
        Side::Before => Activated::Before,
        Side::After => Activated::After,
    };
    let mut levels = network.stages(activated);
    levels.push(network.tap("pooled")?);
    Ok(levels)
}

/// Taps as maps, deepest first.
fn maps(taps: &[Tensor]) -> Result<Vec<Tensor>> {
    taps.iter().rev().map(map).collect()
}

/// A tap as a map: a vector is a map of one pixel.
pub(super) fn map(tap: &Tensor) -> Result<Tensor> {
    Ok(match *tap.dims() {
        [batch, channels] => tap.reshape((batch, channels, 1, 1))?,
        _ => tap.clone(),
    })
}

/// Height and width of a map.
pub(super) fn size(map: &Tensor) -> Result<(usize, usize)> {
    let (_, _, height, width) = map.dims4()?;
    Ok((height, width))
}
