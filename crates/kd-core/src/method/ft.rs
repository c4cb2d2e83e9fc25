//! Factor transfer: "Paraphrasing complex network: network compression via factor transfer" (Kim,
//! Park and Kwak, NeurIPS 2018), section 3.2, as the CRD benchmark runs it.
//!
//! L = weight · D(τ(S), e(T)) + hard-weight · CE, where S and T are the last maps of student and
//! teacher, both after the activation, e is the encoder that [`paraphraser`](super::paraphraser)
//! has trained in the phase before, which stays as it is, and D is [`factor_transfer()`]. The
//! translator τ trains with the student: three 3×3 convolutions, each with a batch-norm and max(x,
//! slope · x), of the student's c channels: c → c → f → f for the f factors of e.
//!
//! The benchmark takes weight 200, power 2, norm 1, and the rate 0.5 and the slope 0.1 of its
//! paraphraser.
//!
//! Deviation: no bias before a batch-norm, which would take it out again.

use candle_core::Tensor;
use kd_kernels::Activation;
use serde::{Deserialize, Serialize};

use super::paraphraser::{Paraphraser, check_factors, factors, last_map, leaky};
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants, check_weight,
};
use crate::loss::factor_transfer;
use crate::loss::operands::pooling;
use crate::model::layers::{ConvInit, ConvNorm, Maker, Window};
use crate::model::{Mode, Tap};
use crate::{Error, Result};

/// The second phase of factor transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the factors' distance.
    pub weight: f64,
    /// Factors for each of the teacher's channels (k): the paraphraser's.
    pub rate: f64,
    /// Slope of the rectifiers below 0: the paraphraser's.
    pub slope: f64,
    /// The power of values that is averaged over channels, from 1 to 8.
    pub power: u32,
    /// The power of distances that is averaged, from 1 to 8.
    pub norm: u32,
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

/// Terms: `factors`, and those of [`LogitTerms`].
pub struct FactorTransfer {
    spec: Spec,
    wants: Wants,
    logits: LogitTerms,
    paraphraser: Paraphraser,
    /// Variables: `translator.{0,1,2}`.
    translator: Vec<ConvNorm>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        check_factors(self.rate, self.slope)?;
        Error::unless_within("method.power", self.power as usize, 1..=8)?;
        Error::unless_within("method.norm", self.norm as usize, 1..=8)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let (student, teacher) = (
            last_map(context.student(), "student")?,
            last_map(context.teacher_model()?, "teacher")?,
        );
        let size = |tap: &Tap| (tap.side(), tap.side());
        if pooling(size(student), size(teacher)).is_none() {
            let what = "ft: expected one side of the last maps to be a multiple of the other";
            return Err(Error::bad_input(format!(
                "{what}, got {} of the student and {} of the teacher",
                student.side(),
                teacher.side()
            )));
        }
        let (c, factors) = (student.channels, factors(teacher, self.rate));
        let mut make = Maker::new(ConvInit::Uniform, context.precision());
        let mut layer = |i: usize, widths| {
            let vb = context.vb().pp("translator").pp(i);
            make.conv_norm(&vb, ["0", "1"], widths, Window::new(3, 1), student.side())
        };
        let translator =
            vec![layer(0, (c, c))?, layer(1, (c, factors))?, layer(2, (factors, factors))?];
        let wants = Wants {
            student_taps: vec![student.name.clone()],
            teaching: Teaching::Live { taps: vec![teacher.name.clone()] },
            ..Wants::default()
        };
        let paraphraser = Paraphraser::new(context, teacher, self.rate, self.slope)?;
        Ok(Box::new(FactorTransfer {
            spec: self.clone(),
            wants,
            logits: self.logit_terms(),
            paraphraser,
            translator,
        }))
    }
}

impl Distillation for FactorTransfer {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (&step.student()?.taps[0], &step.teacher()?.taps[0]);
        let translated = self.translate(student, Mode::Train(step.draws))?;
        // In evaluation mode the encoder's parameters are constants: it is not trained further.
        let factors = self.paraphraser.encode(teacher, Mode::Evaluate)?;
        let distance = factor_transfer(&translated, &factors, self.spec.power, self.spec.norm)?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher("factors", distance, self.spec.weight));
        Ok(terms)
    }
}

impl FactorTransfer {
    fn translate(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        let layer = |xs: Tensor, layer: &ConvNorm| {
            Ok(leaky(&layer.forward(&xs, None, Activation::None, mode)?, self.spec.slope)?)
        };
        self.translator.iter().try_fold(xs.clone(), layer)
    }
}
