//! The paraphraser of factor transfer, and the phase that trains it: "Paraphrasing complex network:
//! network compression via factor transfer" (Kim, Park and Kwak, NeurIPS 2018), section 3.1.
//!
//! L = weight · mean((d(e(T)) − T)²) for the teacher's last map T, after its activation. The
//! encoder e makes T's c channels to rate · c factors, the decoder d makes T of these again. Each
//! is three 3×3 convolutions with bias, each followed by max(x, slope · x):
//!
//! e: c → c → rate·c → rate·c, d: rate·c → rate·c → c → c.
//!
//! The benchmark trains it for 30 epochs with rate 0.5 and slope 0.1, without batch-norms. The
//! student does not run in this phase.
//!
//! Deviation: the decoder's convolutions are transposed ones in the authors' program. With 3×3
//! kernels, stride 1 and padding 1 those are convolutions whose kernels are turned around; ours
//! begin uniform within ±1/√fan-in of the convolution.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Context, Distillation, Recipe, Step, Teaching, Term, Wants, check_weight};
use crate::loss::hint;
use crate::model::layers::{Conv, ConvInit, Maker, Window, within};
use crate::model::{Activated, Mode, Model, Tap};
use crate::{Error, Result};

/// The first phase of factor transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the reconstruction.
    pub weight: f64,
    /// Factors for each of the teacher's channels (k), above 0 and at most 1.
    pub rate: f64,
    /// Slope of the rectifiers below 0, from 0 to 1.
    pub slope: f64,
}

/// Term: `reconstruction`.
pub struct Paraphrase {
    weight: f64,
    wants: Wants,
    paraphraser: Paraphraser,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        check_factors(self.rate, self.slope)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let teacher = last_map(context.teacher_model()?, "teacher")?;
        let wants = Wants {
            student: false,
            teaching: Teaching::Live { taps: vec![teacher.name.clone()] },
            ..Wants::default()
        };
        let paraphraser = Paraphraser::new(context, teacher, self.rate, self.slope)?;
        Ok(Box::new(Paraphrase { weight: self.weight, wants, paraphraser }))
    }
}

impl Distillation for Paraphrase {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let teacher = &step.teacher()?.taps[0];
        let mode = Mode::Train(step.draws);
        let made = self.paraphraser.decode(&self.paraphraser.encode(teacher, mode)?, mode)?;
        Ok(vec![Term::teacher("reconstruction", hint(&made, teacher)?, self.weight)])
    }
}

/// Encoder and decoder. Variables: `paraphraser.{encoder,decoder}.{0,1,2}`.
pub(super) struct Paraphraser {
    encoder: Vec<Conv>,
    decoder: Vec<Conv>,
    slope: f64,
}

impl Paraphraser {
    pub fn new(context: &Context, teacher: &Tap, rate: f64, slope: f64) -> Result<Self> {
        let (c, factors, side) = (teacher.channels, factors(teacher, rate), teacher.side());
        let half = |name: &str, widths: [usize; 4]| -> Result<Vec<Conv>> {
            let vb = context.vb().pp("paraphraser").pp(name);
            let conv = |i: usize| {
                let bias = within(1., 9 * widths[i]);
                Maker::new(ConvInit::Uniform, context.precision()).biased_conv(
                    vb.pp(i),
                    (widths[i], widths[i + 1]),
                    Window::new(3, 1),
                    side,
                    bias,
                )
            };
            (0..3).map(conv).collect()
        };
        let (encoder, decoder) = (
            half("encoder", [c, c, factors, factors])?,
            half("decoder", [factors, factors, c, c])?,
        );
        Ok(Self { encoder, decoder, slope })
    }

    /// The factors of a map.
    pub fn encode(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        self.run(&self.encoder, xs, mode)
    }

    /// The map of factors.
    pub fn decode(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        self.run(&self.decoder, xs, mode)
    }

    fn run(&self, convs: &[Conv], xs: &Tensor, mode: Mode) -> Result<Tensor> {
        convs
            .iter()
            .try_fold(xs.clone(), |xs, conv| Ok(leaky(&conv.forward(&xs, mode)?, self.slope)?))
    }
}

/// How many factors a map has at this rate: at least 1.
pub(super) fn factors(teacher: &Tap, rate: f64) -> usize {
    ((teacher.channels as f64 * rate) as usize).max(1)
}

/// max(x, slope · x), for a slope of at most 1.
pub(super) fn leaky(xs: &Tensor, slope: f64) -> candle_core::Result<Tensor> {
    xs.maximum(&(xs * slope)?)
}

/// The output of a network's last stage, after its activation.
///
/// # Errors
/// Bad input when the network has no stage.
pub(super) fn last_map<'a>(network: &'a dyn Model, who: &str) -> Result<&'a Tap> {
    network
        .stages(Activated::After)
        .last()
        .copied()
        .ok_or_else(|| Error::bad_input(format!("ft: expected a {who} with maps, got none")))
}

/// Checks rate and slope.
///
/// # Errors
/// Bad input that names the field, what it must be and what it is.
pub(super) fn check_factors(rate: f64, slope: f64) -> Result<()> {
    if !(rate > 0. && rate <= 1.) {
        return Err(Error::bad_input(format!(
            "method.rate: expected a number above 0 and at most 1, got {rate}"
        )));
    }
    if !(0. ..=1.).contains(&slope) {
        return Err(Error::bad_input(format!(
            "method.slope: expected a number from 0 to 1, got {slope}"
        )));
    }
    Ok(())
}
