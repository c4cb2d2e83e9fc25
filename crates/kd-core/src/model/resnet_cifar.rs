//! Residual networks for small images: "Deep residual learning for image recognition" (He et al.
//! 2016), section 4.2, with projections where the shape changes (its option B) or without parameters
//! there (its option A), and the variants of four times the width that the benchmark of "Contrastive representation distillation" (Tian et al. 2020) added.

use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::conv2d::Precision;
use serde::{Deserialize, Serialize};

use super::head::{Head, HeadSpec, Place};
use super::layers::{ConvInit, ConvNorm, DenseInit, Maker, SIDE, Window};
use super::tap_request::{TapRequest, tap};
use super::{About, Activated, Classifier, Mode, Model, Outputs};
use crate::{Error, Result};

/// What a residual network adds to a block's result where the block changes the shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// The block's input through a 1×1 convolution and a batch-norm: option B of He et al. 2016.
    #[default]
    Projection,
    /// Every second row and column of the block's input, between equally many channels of zeros on
    /// both sides: option A, which has no parameters. The paper does not say where the zeros go;
    /// this is where the usual PyTorch program puts them.
    Pad,
}

impl Shortcut {
    /// Whether it is [`Shortcut::Projection`], which a description leaves out.
    pub(crate) fn is_projection(&self) -> bool {
        *self == Self::Projection
    }
}

/// A residual network of three stages of basic blocks.
///
/// Input `[batch, 3, 32, 32]`. Depth 6n + 2 makes n blocks a stage. Width 1 has 16 channels in the
/// stem and 16, 32, 64 in the stages; width 4 has 32 and 64, 128, 256. Parameters have the names of
/// the reference: `conv1`, `bn1`, `layer{1..3}.{i}.conv{1,2}`, `.bn{1,2}`, `.downsample.{0,1}`
/// (with [`Shortcut::Projection`] alone), `fc`.
///
/// Taps: `stem` (after its ReLU), `stage1` to `stage3` (after the last ReLU), `stage1.pre` to
/// `stage3.pre` (the sum before it), those of the head (`last`, `pooled`).
pub struct ResNetCifar {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    head: Head,
    about: About,
}

/// Two 3×3 convolutions and a shortcut.
struct Block {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Joined,
}

/// How a block's input gets to its sum.
enum Joined {
    AsItIs,
    Projected(ConvNorm),
    /// With this stride, to this many channels.
    Padded(usize, usize),
}

impl ResNetCifar {
    /// Builds the network; `precision` is that of its convolutions, and `vb` decides whether its
    /// parameters train. Convolutions begin normal by fan-out, the classifier as PyTorch's
    /// default.
    ///
    /// # Errors
    /// Bad input when the depth is not 6n + 2, from 8 to 1202, or the width not 1 or 4, or not 1
    /// with [`Shortcut::Pad`].
    pub fn new(
        depth: usize,
        width: usize,
        shortcut: Shortcut,
        classes: usize,
        head: &HeadSpec,
        precision: Precision,
        vb: VarBuilder,
    ) -> Result<Self> {
        let stem = match width {
            1 => 16,
            4 => 32,
            _ => {
                return Err(Error::bad_input(format!(
                    "resnet: expected width 1 or 4, got {width}"
                )));
            }
        };
        if !(8..=1202).contains(&depth) || !(depth - 2).is_multiple_of(6) {
            return Err(Error::bad_input(format!(
                "resnet: expected a depth of 6n + 2, from 8 to 1202, got {depth}"
            )));
        }
        if shortcut == Shortcut::Pad && width != 1 {
            return Err(Error::bad_input(format!(
                "resnet: expected width 1 with shortcuts that pad, got {width}"
            )));
        }
        let mut make = Maker::new(ConvInit::HeNormal, precision);
        let mut taps = vec![tap("stem", stem, SIDE, Activated::After)];
        let stem_layer =
            make.conv_norm(&vb, ["conv1", "bn1"], (3, stem), Window::new(3, 1), SIDE)?;
        let (mut channels, mut side, mut stages) = (stem, SIDE, Vec::new());
        for stage in 1..=3 {
            let (out, mut stride) = ((16 * width) << (stage - 1), if stage == 1 { 1 } else { 2 });
            let mut blocks = Vec::new();
            for i in 0..(depth - 2) / 6 {
                blocks.push(Block::new(
                    &mut make,
                    vb.pp(format!("layer{stage}.{i}")),
                    channels,
                    out,
                    (stride, shortcut),
                    side,
                )?);
                (channels, side, stride) = (out, side / stride, 1);
            }
            stages.push(blocks);
            let last = (depth - 2) / 6 - 1;
            let before = tap(format!("stage{stage}.pre"), out, side, Activated::Before);
            taps.push(before.made_by(format!("layer{stage}.{last}.bn2")));
            taps.push(tap(format!("stage{stage}"), out, side, Activated::After));
        }
        let place = Place { vb: &vb, name: "fc", channels, side };
        let head = Head::new(&mut make, place, classes, DenseInit::Uniform, head)?;
        taps.extend(head.taps().iter().cloned());
        let about = About { taps, classes, multiply_adds: make.multiply_adds };
        Ok(Self { stem: stem_layer, stages, head, about })
    }
}

impl Block {
    fn new(
        make: &mut Maker,
        vb: VarBuilder,
        cin: usize,
        cout: usize,
        (stride, shortcut): (usize, Shortcut),
        side: usize,
    ) -> Result<Self> {
        let first =
            make.conv_norm(&vb, ["conv1", "bn1"], (cin, cout), Window::new(3, stride), side)?;
        let second =
            make.conv_norm(&vb, ["conv2", "bn2"], (cout, cout), Window::new(3, 1), side / stride)?;
        let shortcut = if stride == 1 && cin == cout {
            Joined::AsItIs
        } else if shortcut == Shortcut::Pad {
            Joined::Padded(stride, cout)
        } else {
            Joined::Projected(make.conv_norm(
                &vb.pp("downsample"),
                ["0", "1"],
                (cin, cout),
                Window::new(1, stride),
                side,
            )?)
        };
        Ok(Self { first, second, shortcut })
    }

    fn forward(&self, xs: &Tensor, act: Activation, mode: Mode) -> Result<Tensor> {
        let inner = self.first.forward(xs, None, Activation::Relu, mode)?;
        let joined = match &self.shortcut {
            Joined::AsItIs => None,
            Joined::Projected(s) => Some(s.forward(xs, None, Activation::None, mode)?),
            Joined::Padded(stride, cout) => Some(padded(xs, *stride, *cout)?),
        };
        self.second.forward(&inner, Some(joined.as_ref().unwrap_or(xs)), act, mode)
    }
}

/// Every `stride`-th row and column of `xs`, `[batch, channels, height, width]`, with channels of
/// zeros on both sides to make `cout`; an odd one goes behind.
fn padded(xs: &Tensor, stride: usize, cout: usize) -> Result<Tensor> {
    let (_, channels, height, width) = xs.dims4()?;
    let every = |side: usize| Tensor::arange_step(0u32, side as u32, stride as u32, xs.device());
    let picked =
        xs.index_select(&every(height)?, D::Minus2)?.index_select(&every(width)?, D::Minus1)?;
    let zeros = cout - channels;
    Ok(picked.pad_with_zeros(1, zeros / 2, zeros - zeros / 2)?)
}

impl Model for ResNetCifar {
    fn about(&self) -> &About {
        &self.about
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        let mut request = TapRequest::of(self, taps)?;
        let mut xs = self.stem.forward(xs, None, Activation::Relu, mode)?;
        request.offer("stem", &xs);
        for (stage, blocks) in (1..).zip(&self.stages) {
            xs = request.stage(&format!("stage{stage}"), xs, blocks, |block, xs, act| {
                block.forward(xs, act, mode)
            })?;
        }
        self.head.outputs(request, &xs, mode)
    }

    fn classifier(&self) -> Option<Classifier> {
        self.head.classifier()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_padded_shortcut_is_every_second_pixel_between_channels_of_zeros() -> Result<()> {
        // A channel of 3×4 pixels whose value is ten times the row and the column.
        let values: Vec<f32> =
            (0..3).flat_map(|r| (0..4).map(move |c| (10 * r + c) as f32)).collect();
        let one = Tensor::from_vec(values, (1, 1, 3, 4), &Device::Cpu)?;
        let xs = Tensor::cat(&[&one, &one.affine(-1., 0.)?], 1)?;
        let out = padded(&xs, 2, 4)?;
        let expected = [
            [[0., 0.], [0., 0.]],
            [[0., 2.], [20., 22.]],
            [[0., -2.], [-20., -22.]],
            [[0., 0.], [0., 0.]],
        ];
        let found: Vec<Vec<Vec<f32>>> = out.squeeze(0)?.to_vec3()?;
        assert_eq!(found, expected.map(|c| c.map(|r| r.to_vec()).to_vec()).to_vec());
        Ok(())
    }
}
