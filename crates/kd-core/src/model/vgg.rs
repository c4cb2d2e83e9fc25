//! VGG networks with batch-norm for small images: "Very deep convolutional networks" (Simonyan and
//! Zisserman 2015), as the benchmark of "Contrastive representation distillation" (Tian et al.
//! 2020) cut them.

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use kd_kernels::conv2d::Precision;
use kd_kernels::pool::max_pool2d;

use super::head::{Head, HeadSpec, Place};
use super::layers::{BatchNorm, ConvInit, ConvNorm, DenseInit, Maker, SIDE, Window};
use super::tap_request::{TapRequest, tap};
use super::{About, Activated, Classifier, Mode, Model, Outputs};
use crate::{Error, Result};

/// Channels of the five blocks.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// Five blocks of 3×3 convolutions, each with batch-norm and ReLU; maps are halved after the first
/// three, and averaged after the last.
///
/// Input `[batch, 3, 32, 32]`. Depths 8, 11, 13, 16 and 19. Convolutions have a bias. Parameters
/// have the names of the reference: `block{0..4}.{3i}` and `block{0..4}.{3i + 1}` for the
/// convolution and the batch-norm i, `classifier`.
///
/// Taps: `stem` (block 0, where other networks have their stem), `stage1` to `stage4` (blocks 1 to
/// 4, after their last ReLU), `stage1.pre` to `stage4.pre` (before it), those of the head
/// (`last`, `pooled`).
pub struct Vgg {
    blocks: Vec<Vec<ConvNorm>>,
    head: Head,
    about: About,
}

impl Vgg {
    /// Builds the network; `precision` is that of its convolutions, and `vb` decides whether its
    /// parameters train. Convolutions begin normal by fan-out with biases of 0, the classifier
    /// normal with standard deviation 0.01 and biases of 0.
    ///
    /// # Errors
    /// Bad input when there is no such depth.
    pub fn new(
        depth: usize,
        classes: usize,
        head: &HeadSpec,
        precision: Precision,
        vb: VarBuilder,
    ) -> Result<Self> {
        let layers = match depth {
            8 => [1, 1, 1, 1, 1],
            11 => [1, 1, 2, 2, 2],
            13 => [2, 2, 2, 2, 2],
            16 => [2, 2, 3, 3, 3],
            19 => [2, 2, 4, 4, 4],
            _ => {
                return Err(Error::bad_input(format!(
                    "vgg: expected depth 8, 11, 13, 16 or 19, got {depth}"
                )));
            }
        };
        let mut make = Maker::new(ConvInit::HeNormal, precision);
        let (mut channels, mut blocks, mut taps) = (3, Vec::new(), Vec::new());
        for (block, (&layers, &out)) in layers.iter().zip(&CHANNELS).enumerate() {
            let (vb, side) = (vb.pp(format!("block{block}")), SIDE >> block.min(3));
            let mut convs = Vec::new();
            for i in 0..layers {
                let conv = make.biased_conv(
                    vb.pp(3 * i),
                    (channels, out),
                    Window::new(3, 1),
                    side,
                    Init::Const(0.),
                )?;
                convs.push(ConvNorm { conv, norm: BatchNorm::new(vb.pp(3 * i + 1), out)? });
                channels = out;
            }
            blocks.push(convs);
            if block > 0 {
                let before = tap(format!("stage{block}.pre"), out, side, Activated::Before);
                taps.push(before.made_by(format!("block{block}.{}", 3 * layers - 2)));
            }
            taps.push(tap(name(block), out, side, Activated::After));
        }
        let place = Place { vb: &vb, name: "classifier", channels, side: SIDE >> 3 };
        let head = Head::new(&mut make, place, classes, DenseInit::SmallNormal, head)?;
        taps.extend(head.taps().iter().cloned());
        Ok(Self { blocks, head, about: About { taps, classes, multiply_adds: make.multiply_adds } })
    }
}

/// The tap of a block.
fn name(block: usize) -> String {
    if block == 0 { "stem".into() } else { format!("stage{block}") }
}

impl Model for Vgg {
    fn about(&self) -> &About {
        &self.about
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        let mut request = TapRequest::of(self, taps)?;
        let mut xs = xs.clone();
        for (block, layers) in self.blocks.iter().enumerate() {
            if (1..=3).contains(&block) {
                xs = max_pool2d(&xs, 2, 2, 0)?;
            }
            xs = request.stage(&name(block), xs, layers, |layer, xs, act| {
                layer.forward(xs, None, act, mode)
            })?;
        }
        self.head.outputs(request, &xs, mode)
    }

    fn classifier(&self) -> Option<Classifier> {
        self.head.classifier()
    }
}
