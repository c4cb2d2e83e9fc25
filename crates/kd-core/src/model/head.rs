//! What stands between a network's last map and its logits.

use std::fmt;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::layer_norm::layer_norm;
use kd_kernels::pool::{avg_pool2d, global_avg_pool};
use serde::{Deserialize, Serialize};

use super::layers::{ConvInit, ConvNorm, Dense, DenseInit, Maker, Window};
use super::tap_request::{TapRequest, tap};
use super::{Activated, Classifier, LAST, MAX_WEIGHTS, Mode, Outputs, Tap};
use crate::{Error, Result};

/// The tap of what [`HeadSpec::Expanded`] makes of the last map.
pub const EXPANDED: &str = "expanded";

/// Added to the variance of logits that are standardised.
const LOGIT_EPS: f64 = 1e-7;

/// The head of an image network, as a saved network describes it. Most have a
/// [`HeadSpec::Linear`] one; the others are those of methods that change the student
/// ([`crate::method::Recipe::student`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum HeadSpec {
    /// The mean over the pixels, and a dense layer.
    #[default]
    Linear,
    /// A projector to a teacher's last map and the teacher's dense layer, which does not train:
    /// [`crate::method::simkd`]. Convolutions of 1×1 to `channels / reduction`, 3×3, and 1×1 to
    /// `channels`, without bias, each with batch-norm and ReLU; then the mean and the dense layer.
    /// It stands behind the last stage: in MobileNetV2 and ShuffleNetV2 it replaces their last
    /// convolution too.
    /// Parameters: `projector.{0,1}`, `projector.{3,4}` and `projector.{6,7}` for the convolutions
    /// and their norms. The tap [`LAST`] is the projector's result.
    Projected {
        /// The teacher's channels.
        channels: usize,
        /// Pixels of the teacher's map in each direction; a larger one of the student is averaged
        /// to it first.
        side: usize,
        /// By how much the inner convolution is narrower.
        reduction: usize,
    },
    /// A linear residual branch over the last map x: [`crate::method::norm`]. u = BN(1×1
    /// convolution of x to `copies · channels`), the tap [`EXPANDED`]; then the mean of x + BN(1×1
    /// convolution of u) and the dense layer. Parameters: `expand.{0,1}` and `reduce.{0,1}`. Both
    /// convolutions can be folded into the dense layer ([`super::NetworkSpec::folded`]).
    Expanded {
        /// The teacher's channels.
        channels: usize,
        /// How often they are in u.
        copies: usize,
        /// Where given, logits are standardised as in [`HeadSpec::Standardised`].
        logit_scale: Option<f64>,
    },
    /// [`HeadSpec::Linear`], and then `logit-scale` · (z − mean(z)) / √(var(z) + 1e-7) of an
    /// image's logits z, with the biased variance over the classes. The order of the classes stays.
    Standardised {
        /// The standard deviation of an image's logits.
        logit_scale: f64,
    },
}

impl HeadSpec {
    /// Checks that the numbers make a head.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        let size = |what: &str, got: usize| Error::unless_within(what, got, 1..=1 << 16);
        let scale = |scale: f64| {
            if (1e-3..=1e3).contains(&scale) {
                return Ok(());
            }
            Err(Error::bad_input(format!(
                "logit-scale: expected a number from 0.001 to 1000, got {scale}"
            )))
        };
        match *self {
            Self::Linear => Ok(()),
            Self::Projected { channels, side, reduction } => {
                size("head.channels", channels)?;
                size("head.side", side)?;
                Error::unless_within("reduction", reduction, 1..=channels)
            }
            Self::Expanded { channels, copies, logit_scale } => {
                size("head.channels", channels)?;
                size("copies", copies)?;
                logit_scale.map_or(Ok(()), scale)
            }
            Self::Standardised { logit_scale } => scale(logit_scale),
        }
    }

    /// Whether it takes the place of a convolution between the last stage and the mean too, in
    /// networks that have one.
    pub(crate) fn replaces_last_convolution(&self) -> bool {
        matches!(self, Self::Projected { .. })
    }

    /// The head that [`fmt::Display`] writes so.
    ///
    /// # Errors
    /// Bad input that says what a head can be.
    pub fn from_name(name: &str) -> Result<Self> {
        let parts: Vec<&str> = name.split('-').collect();
        let number = |i: usize| parts.get(i).and_then(|part| part.parse().ok());
        let scale = |i: usize| parts.get(i).and_then(|part| part.parse().ok());
        let read = || match (parts[0], parts.len()) {
            ("projected", 4) => Some(Self::Projected {
                channels: number(1)?,
                side: number(2)?,
                reduction: number(3)?,
            }),
            ("expanded", 3) => {
                Some(Self::Expanded { channels: number(1)?, copies: number(2)?, logit_scale: None })
            }
            ("expanded", 4) => Some(Self::Expanded {
                channels: number(1)?,
                copies: number(2)?,
                logit_scale: Some(scale(3)?),
            }),
            ("standardised", 2) => Some(Self::Standardised { logit_scale: scale(1)? }),
            _ => None,
        };
        let unknown = || {
            Error::bad_input(format!(
                "head: expected projected-CHANNELS-SIDE-REDUCTION, expanded-CHANNELS-COPIES[-SCALE] or standardised-SCALE, got {}",
                crate::torch_checkpoint::value::brief(name)
            ))
        };
        let head: Self = read().ok_or_else(unknown)?;
        head.check()?;
        Ok(head)
    }
}

impl fmt::Display for HeadSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Self::Linear => f.write_str("linear"),
            Self::Projected { channels, side, reduction } => {
                write!(f, "projected-{channels}-{side}-{reduction}")
            }
            Self::Expanded { channels, copies, logit_scale: None } => {
                write!(f, "expanded-{channels}-{copies}")
            }
            Self::Expanded { channels, copies, logit_scale: Some(scale) } => {
                write!(f, "expanded-{channels}-{copies}-{scale}")
            }
            Self::Standardised { logit_scale } => write!(f, "standardised-{logit_scale}"),
        }
    }
}

/// A head with its parameters.
pub(crate) struct Head {
    branch: Branch,
    dense: Dense,
    /// Whether the dense layer is a constant, also in training.
    frozen: bool,
    logit_scale: Option<f64>,
    taps: Vec<Tap>,
}

/// What becomes of the last map.
enum Branch {
    None,
    Projected {
        /// The side of the windows that are averaged first.
        window: usize,
        layers: [ConvNorm; 3],
    },
    Expanded {
        expand: ConvNorm,
        reduce: ConvNorm,
    },
}

/// Where in its network a head stands.
pub(crate) struct Place<'a> {
    /// The builder of the network's parameters.
    pub vb: &'a VarBuilder<'a>,
    /// The name of the network's dense layer.
    pub name: &'a str,
    /// Channels of the last map.
    pub channels: usize,
    /// Its pixels in each direction.
    pub side: usize,
}

impl Head {
    /// The head of a network of so many classes, whose dense layer begins as `init` says.
    ///
    /// # Errors
    /// Bad input when the head does not fit the map.
    pub fn new(
        make: &mut Maker,
        place: Place,
        classes: usize,
        init: DenseInit,
        spec: &HeadSpec,
    ) -> Result<Self> {
        spec.check()?;
        let Place { vb, name, channels: own, side: own_side } = place;
        let one = Window::new(1, 1);
        let mut taps = Vec::new();
        let (mut channels, mut side, mut logit_scale) = (own, own_side, None);
        let branch = match *spec {
            HeadSpec::Linear => Branch::None,
            HeadSpec::Standardised { logit_scale: scale } => {
                logit_scale = Some(scale);
                Branch::None
            }
            HeadSpec::Projected { channels: out, side: theirs, reduction } => {
                let inner = out / reduction;
                check_weights(&[[own, inner, 1], [inner, inner, 9], [inner, out, 1]])?;
                if own_side > theirs && !own_side.is_multiple_of(theirs) {
                    return Err(Error::bad_input(format!(
                        "head.side: expected the teacher's map to be as large as the student's of {own_side} pixels, larger, or a whole part of it, got {theirs}"
                    )));
                }
                let window = (own_side / theirs).max(1);
                (channels, side) = (out, own_side / window);
                // The projector of the official program begins as PyTorch's default, whatever the
                // network does.
                let mut make_own = make.beginning(ConvInit::Uniform);
                let vb = vb.pp("projector");
                let mut layer = |names: [&str; 2], channels, window| {
                    make_own.conv_norm(&vb, names, channels, window, side)
                };
                let layers = [
                    layer(["0", "1"], (own, inner), one)?,
                    layer(["3", "4"], (inner, inner), Window::new(3, 1))?,
                    layer(["6", "7"], (inner, out), one)?,
                ];
                make.multiply_adds += make_own.multiply_adds;
                Branch::Projected { window, layers }
            }
            HeadSpec::Expanded { channels: theirs, copies, logit_scale: scale } => {
                logit_scale = scale;
                check_weights(&[[own, theirs, copies], [own, theirs, copies]])?;
                let wide = theirs * copies;
                taps.push(tap(EXPANDED, wide, side, Activated::Before));
                Branch::Expanded {
                    expand: make.conv_norm(&vb.pp("expand"), ["0", "1"], (own, wide), one, side)?,
                    reduce: make.conv_norm(&vb.pp("reduce"), ["0", "1"], (wide, own), one, side)?,
                }
            }
        };
        let dense = make.dense(vb.pp(name), channels, classes, init)?;
        let activated = match branch {
            Branch::Expanded { .. } => Activated::Before,
            _ => Activated::After,
        };
        taps.push(tap(LAST, channels, side, activated));
        taps.push(tap("pooled", channels, 0, activated));
        let frozen = matches!(branch, Branch::Projected { .. });
        Ok(Self { branch, dense, frozen, logit_scale, taps })
    }

    /// The taps that it offers, [`LAST`] and `pooled` at the end.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// Its dense layer; none where the logits are more than what that says.
    pub fn classifier(&self) -> Option<Classifier> {
        self.logit_scale.is_none().then(|| self.dense.classifier())
    }

    /// What a forward pass returns of the network's last map.
    pub(super) fn outputs(
        &self,
        mut request: TapRequest,
        last: &Tensor,
        mode: Mode,
    ) -> Result<Outputs> {
        let branched = match &self.branch {
            Branch::None => None,
            Branch::Projected { window, layers } => {
                let pooled = match *window {
                    1 => last.clone(),
                    window => avg_pool2d(last, window, window, 0, true)?,
                };
                let mut xs = pooled;
                for layer in layers {
                    xs = layer.forward(&xs, None, Activation::Relu, mode)?;
                }
                Some(xs)
            }
            Branch::Expanded { expand, reduce } => {
                let wide = expand.forward(last, None, Activation::None, mode)?;
                request.offer(EXPANDED, &wide);
                Some(reduce.forward(&wide, Some(last), Activation::None, mode)?)
            }
        };
        let last = branched.as_ref().unwrap_or(last);
        request.offer(LAST, last);
        let pooled = global_avg_pool(last)?;
        request.offer("pooled", &pooled);
        let logits =
            self.dense.forward(&pooled, if self.frozen { Mode::Evaluate } else { mode })?;
        request.outputs(match self.logit_scale {
            Some(scale) => standardised(&logits, scale)?,
            None => logits,
        })
    }
}

/// `scale` · (z − mean(z)) / √(var(z) + 1e-7) of each row, with the biased variance.
pub(crate) fn standardised(logits: &Tensor, scale: f64) -> Result<Tensor> {
    let gain = Tensor::full(scale as f32, logits.dim(candle_core::D::Minus1)?, logits.device())?;
    let gain = gain.to_dtype(logits.dtype())?;
    Ok(layer_norm(logits, &gain, &gain.zeros_like()?, LOGIT_EPS)?)
}

/// Fails where the sizes of layers, whose products are their weights, are a slip of the pen: before
/// memory for them is asked for.
fn check_weights(layers: &[[usize; 3]]) -> Result<()> {
    let of = |layer: &[usize; 3]| layer.iter().fold(1u64, |n, &side| n.saturating_mul(side as u64));
    let weights = layers.iter().fold(0u64, |sum, layer| sum.saturating_add(of(layer)));
    if weights > MAX_WEIGHTS {
        return Err(Error::bad_input(format!(
            "head: expected at most 2^31 weights, got {weights}"
        )));
    }
    Ok(())
}
