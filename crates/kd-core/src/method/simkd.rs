//! "Knowledge distillation with the reused teacher classifier" (Chen, Mei, Zhang, Wang, Feng and
//! Chen, CVPR 2022).
//!
//! L = weight · mean((P(S) − T)²), with the map S of the student's last stage, the last map T of
//! the teacher, in front of the mean that its classifier sees, and a projector P of convolutions
//! ([`HeadSpec::Projected`]). There is no other term: no label is asked for.
//!
//! The student keeps the projector and has the teacher's dense layer in the place of its own, which
//! does not train: in training, at its evaluation, in its file and among its parameters. A larger
//! map of the student is averaged to the teacher's size before P, a larger one of the teacher to
//! the student's.
//!
//! Source: section 3 and the official program: reduction 2, weight 1. As there, S is in front of
//! the last convolution of MobileNetV2 and ShuffleNetV2, which the projector replaces. The program
//! has no wide residual networks; their S and T are behind the last batch-norm and ReLU.

use serde::{Deserialize, Serialize};

use super::classified::LastMaps;
use super::{Context, Distillation, Recipe, Step, Term, Wants, check_weight};
use crate::loss::hint;
use crate::loss::operands::{maps, pooling};
use crate::model::{HeadSpec, LAST, Model, NetworkSpec};
use crate::{Error, Result};

/// A student with its teacher's classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// By how much the projector's inner convolution is narrower than the teacher's map.
    pub reduction: usize,
    /// Weight of the distance.
    pub weight: f64,
}

/// The term `projected`.
pub struct Simkd {
    weight: f64,
    wants: Wants,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        Error::unless_within("method.reduction", self.reduction, 1..=65_536)
    }

    /// The network with a projector to the teacher's last map.
    fn student(&self, network: NetworkSpec, teacher: Option<&dyn Model>) -> Result<NetworkSpec> {
        let teacher = teacher.ok_or_else(|| {
            Error::bad_input("method: this one needs a teacher, and there is none")
        })?;
        let last = teacher.tap(LAST)?;
        let reduction = self.reduction;
        if reduction > last.channels {
            return Err(Error::bad_input(format!(
                "method.reduction: expected at most the teacher's {} channels, got {reduction}",
                last.channels
            )));
        }
        let (channels, side) = (last.channels, last.side());
        network.with_head(HeadSpec::Projected { channels, side, reduction })
    }

    /// Gives the student the teacher's dense layer.
    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let both = LastMaps::of(context, "simkd")?;
        let [own, theirs] = both.classifiers();
        if own.weight.dims() != theirs.weight.dims() {
            return Err(Error::bad_input(format!(
                "simkd: expected a student with a projector to the teacher's {} channels, got one of {}",
                theirs.weight.dim(1)?,
                own.weight.dim(1)?
            )));
        }
        let (s, t) = (context.student().tap(LAST)?, context.teacher_model()?.tap(LAST)?);
        if pooling((s.side(), s.side()), (t.side(), t.side())).is_none() {
            return Err(Error::bad_input(format!(
                "simkd: expected maps of which one is a whole multiple of the other, got {} pixels and the teacher's {}",
                s.side(),
                t.side()
            )));
        }
        context.set_student(&own.weight, &theirs.weight)?;
        context.set_student(&own.bias, &theirs.bias)?;
        Ok(Box::new(Simkd { weight: self.weight, wants: both.wants() }))
    }
}

impl Distillation for Simkd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = maps(&step.student()?.taps[0], &step.teacher()?.taps[0], "simkd")?;
        Ok(vec![Term::teacher("projected", hint(&student, &teacher)?, self.weight)])
    }
}
