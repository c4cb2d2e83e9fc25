//! Contrastive representation distillation (Tian, Krishnan and Isola, ICLR 2020).
//!
//! L = hard-weight · CE + weight · (C(e_S(s), M_T) + C(e_T(t), M_S)), where s and t are the pooled
//! vectors of student and teacher, e_S and e_T a dense layer each to `width` values, brought to
//! length 1, M_S and M_T memories of what these said of every training image, and C is [`noise_contrast`]: image i's own row is positive, and `negatives` rows of images of other classes are negative, drawn anew for each image at each
//! step, without replacement. After the loss, rows of the batch's images move towards what was said
//! of them now, [`remember`].
//!
//! The normalisers Z of the two sides are fixed by the first batch, [`normaliser`]. Memories and
//! normalisers are buffers: they are saved with a run's state and never trained. Both dense layers
//! train.
//!
//! The paper takes weight 0.8, width 128, temperature 0.07, 16,384 negatives and momentum 0.5; rows
//! begin uniform within ±1/√(width/3).
//!
//! Source: section 3.1 and the authors' program. Deviation: more negatives than there are images of
//! other classes are refused, where the program draws them with replacement.

use candle_core::{Tensor, Var};
use candle_nn::Init;
use serde::{Deserialize, Serialize};

use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants,
    check_temperature, check_weight,
};
use crate::loss::contrastive::{
    Negatives, Pairs, Picks, noise_contrast, normaliser, remember, unit_rows,
};
use crate::model::Mode;
use crate::model::layers::{ConvInit, Dense, DenseInit, Maker};
use crate::params::buffer;
use crate::{Error, Result};

/// Contrast against memories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the contrast, both sides together.
    pub weight: f64,
    /// Values of an embedding.
    pub width: usize,
    /// The temperature τ of scores.
    pub temperature: f64,
    /// Negatives for each image (m).
    pub negatives: usize,
    /// What of a memory's row is kept when it moves, from 0 to 1.
    pub momentum: f64,
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

/// Terms: `contrast`, the sum of both sides, and those of [`LogitTerms`].
pub struct Crd {
    spec: Spec,
    wants: Wants,
    logits: LogitTerms,
    negatives: Negatives,
    student: Side,
    teacher: Side,
}

/// What belongs to one network. Variables: `embed.{student,teacher}`, `memory.{student,teacher}`
/// and `normaliser.{student,teacher}`.
struct Side {
    embed: Dense,
    /// What it said of the images, `[images, width]`.
    memory: Var,
    /// Z of its anchors; 0 before the first batch.
    normaliser: Var,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        Error::unless_within("method.width", self.width, 1..=65_536)?;
        check_temperature(self.temperature)?;
        if !(0. ..=1.).contains(&self.momentum) {
            return Err(Error::bad_input(format!(
                "method.momentum: expected a number from 0 to 1, got {}",
                self.momentum
            )));
        }
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let negatives = Negatives::new(context.labels());
        Error::unless_within("method.negatives", self.negatives, 1..=negatives.available())?;
        let (student, teacher) =
            (context.student().tap("pooled")?, context.teacher_model()?.tap("pooled")?);
        let side = |name: &str, channels: usize| -> Result<Side> {
            let vb = context.vb();
            let embed = Maker::new(ConvInit::Uniform, context.precision()).dense(
                vb.pp("embed").pp(name),
                channels,
                self.width,
                DenseInit::Uniform,
            )?;
            let bound = (3. / self.width as f64).sqrt();
            let rows = (negatives.images(), self.width);
            buffer(&vb.pp("memory"), rows, name, Init::Uniform { lo: -bound, up: bound })?;
            buffer(&vb.pp("normaliser"), 1, name, Init::Const(0.))?;
            Ok(Side {
                embed,
                memory: context.var(&format!("memory.{name}"))?,
                normaliser: context.var(&format!("normaliser.{name}"))?,
            })
        };
        let wants = Wants {
            student_taps: vec![student.name.clone()],
            teaching: Teaching::Live { taps: vec![teacher.name.clone()] },
            ..Wants::default()
        };
        let (student, teacher) =
            (side("student", student.channels)?, side("teacher", teacher.channels)?);
        Ok(Box::new(Crd {
            spec: self.clone(),
            wants,
            logits: self.logit_terms(),
            negatives,
            student,
            teacher,
        }))
    }
}

impl Distillation for Crd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let negatives = self.draw(step)?;
        let pairs = self.pairs(step, &negatives);
        let [s, t] = self.embeddings(step)?;
        let by_student = noise_contrast(
            &s,
            &self.teacher.memory,
            &pairs,
            self.student.z(&s, &self.teacher.memory, &pairs)?,
        )?;
        let by_teacher = noise_contrast(
            &t,
            &self.student.memory,
            &pairs,
            self.teacher.z(&t, &self.student.memory, &pairs)?,
        )?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher("contrast", (by_student + by_teacher)?, self.spec.weight));
        Ok(terms)
    }

    fn remember(&self, step: &Step) -> Result<()> {
        let [s, t] = self.embeddings(step)?;
        if !self.student.is_normalised()? {
            let negatives = self.draw(step)?;
            let pairs = self.pairs(step, &negatives);
            self.student.normalise(normaliser(&s, &self.teacher.memory, &pairs)?)?;
            self.teacher.normalise(normaliser(&t, &self.student.memory, &pairs)?)?;
        }
        remember(&self.student.memory, step.numbers, &s, self.spec.momentum)?;
        Ok(remember(&self.teacher.memory, step.numbers, &t, self.spec.momentum)?)
    }
}

impl Crd {
    /// Of student and teacher, `[batch, width]`.
    fn embeddings(&self, step: &Step) -> Result<[Tensor; 2]> {
        let mode = Mode::Train(step.draws);
        let embed = |side: &Side, pooled: &Tensor| -> Result<Tensor> {
            Ok(unit_rows(&side.embed.forward(pooled, mode)?)?)
        };
        Ok([
            embed(&self.student, &step.student()?.taps[0])?,
            embed(&self.teacher, &step.teacher()?.taps[0])?,
        ])
    }

    /// A function of the step, so that the two calls of one step agree.
    fn draw(&self, step: &Step) -> Result<Picks> {
        Ok(self.negatives.draw(
            step.numbers,
            self.spec.negatives,
            step.draws.stream("crd.negatives"),
        )?)
    }

    fn pairs<'a>(&self, step: &Step<'a>, negatives: &'a Picks) -> Pairs<'a> {
        Pairs { positives: step.numbers, negatives, temperature: self.spec.temperature }
    }
}

impl Side {
    /// The normaliser that is fixed, or, before it is, that of this batch.
    fn z(&self, anchors: &Tensor, memory: &Tensor, pairs: &Pairs) -> Result<f64> {
        let fixed = self.fixed()?;
        if fixed > 0. { Ok(fixed) } else { rounded(normaliser(anchors, memory, pairs)?) }
    }

    fn is_normalised(&self) -> Result<bool> {
        Ok(self.fixed()? > 0.)
    }

    fn fixed(&self) -> Result<f64> {
        Ok(f64::from(self.normaliser.get(0)?.to_scalar::<f32>()?))
    }

    fn normalise(&self, z: f64) -> Result<()> {
        Ok(self.normaliser.set(&Tensor::new(&[z as f32], self.normaliser.device())?)?)
    }
}

/// As the buffer holds it, so that the first step and those after a resumption use one number.
fn rounded(z: f64) -> Result<f64> {
    Ok(f64::from(z as f32))
}
