//! "Variational information distillation for knowledge transfer" (Ahn et al. 2019), section 2.
//!
//! L = hard-weight · CE + weight · Σ_l V(μ_l(S_l), a_l, T_l), with the [`variational_information`]
//! loss V and the maps S_l and T_l of stage l of student and teacher, both after the activation.
//! μ_l is three convolutions of 1×1 without bias, with ReLU between them, the inner ones of the
//! teacher's channels, and a_l the log-scale of each of the teacher's channels, which begins so
//! that every variance is `variance`. Both are trained. The larger map of a pair is pooled to the
//! size of the smaller before it is regressed.
//!
//! Source: the paper; the form of μ, taps, weight (1), first variance (5) and the least one (1e-5)
//! are RepDistiller's.

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use kd_kernels::conv2d::Precision;
use kd_kernels::relu::relu;
use serde::{Deserialize, Serialize};

use super::pairs::{Pairs, sum_over_taps};
use super::{Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_weight};
use crate::loss::operands::maps;
use crate::loss::variational::log_scale_of;
use crate::loss::variational_information;
use crate::model::layers::{Conv, ConvInit, Maker, Window};
use crate::model::{Mode, Tap};
use crate::{Error, Result};

/// Information about every stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the sum over the stages.
    pub weight: f64,
    /// The variance with which every channel begins.
    pub variance: f64,
    /// What is added to each variance, so that none reaches 0.
    pub least_variance: f64,
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

/// Terms: `information`, and those of [`LogitTerms`].
pub struct Vid {
    wants: Wants,
    weight: f64,
    least_variance: f64,
    logits: LogitTerms,
    stages: Vec<Stage>,
}

/// The mean and the log-scale of the teacher's map, given the student's.
struct Stage {
    mean: [Conv; 3],
    log_scale: Tensor,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        if !(self.least_variance > 0.
            && self.variance > self.least_variance
            && self.variance <= 1e6)
        {
            let expected = "expected method.least-variance above 0 and method.variance above it, up to 1,000,000";
            return Err(Error::bad_input(format!(
                "{expected}, got {} and {}",
                self.least_variance, self.variance
            )));
        }
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let pairs = Pairs::stages(context, "vid")?.that_pool("vid")?;
        let first = log_scale_of(self.variance, self.least_variance);
        let stage = |(student, teacher): (&Tap, &Tap)| {
            Stage::new(
                &context.vb().pp(&student.name),
                context.precision(),
                student,
                teacher,
                first,
            )
        };
        let stages = pairs.iter().map(stage).collect::<Result<_>>()?;
        let (weight, least_variance) = (self.weight, self.least_variance);
        Ok(Box::new(Vid {
            wants: pairs.wants(),
            weight,
            least_variance,
            logits: self.logit_terms(),
            stages,
        }))
    }
}

impl Stage {
    fn new(
        vb: &VarBuilder,
        precision: Precision,
        student: &Tap,
        teacher: &Tap,
        log_scale: f64,
    ) -> Result<Self> {
        let mut make = Maker::new(ConvInit::Uniform, precision);
        let (channels, side) = (teacher.channels, student.side().min(teacher.side()));
        let mut conv = |at: &str, cin| {
            make.conv(vb.pp("regressor").pp(at), cin, channels, Window::new(1, 1), side)
        };
        // Numbered as in the benchmark's checkpoints, where activations have numbers too.
        let mean = [conv("0", student.channels)?, conv("2", channels)?, conv("4", channels)?];
        Ok(Self {
            mean,
            log_scale: vb.get_with_hints(channels, "log_scale", Init::Const(log_scale))?,
        })
    }

    fn mean(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        let [first, second, third] = &self.mean;
        let hidden = relu(&first.forward(xs, mode)?)?;
        third.forward(&relu(&second.forward(&hidden, mode)?)?, mode)
    }
}

impl Distillation for Vid {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let information = sum_over_taps(step, |i, student, teacher| {
            let (student, teacher) = maps(student, teacher, "vid")?;
            let stage = &self.stages[i];
            let mean = stage.mean(&student, Mode::Train(step.draws))?;
            Ok(variational_information(&mean, &stage.log_scale, &teacher, self.least_variance)?)
        })?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher("information", information, self.weight));
        Ok(terms)
    }
}
