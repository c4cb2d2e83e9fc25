//! ShuffleNetV2 for small images: "ShuffleNet V2: practical guidelines" (Ma et al. 2018), as the
//! benchmark of "Contrastive representation distillation" (Tian et al. 2020) cut it.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::channel_shuffle::channel_shuffle;
use kd_kernels::conv2d::Precision;
use kd_kernels::relu::relu;

use super::head::{Head, HeadSpec, Place};
use super::layers::{ConvInit, ConvNorm, DenseInit, Maker, SIDE, Window};
use super::tap_request::{TapRequest, tap};
use super::{About, Activated, Classifier, Mode, Model, Outputs};
use crate::Result;

const STEM: usize = 24;
/// Channels of the stages, and their blocks behind the one that halves the map.
const STAGES: [(usize, usize); 3] = [(116, 3), (232, 7), (464, 3)];
/// Channels before the pool.
const LAST: usize = 1024;

/// Stages of one block that halves the map and blocks that work on half of the channels, each with
/// a shuffle at its end.
///
/// Input `[batch, 3, 32, 32]`. Parameters have the names of the reference: `conv1`, `bn1`,
/// `layer{1..3}.0.conv{1..5}`, `.bn{1..5}`, `layer{1..3}.{i}.conv{1..3}`, `.bn{1..3}`, `conv2`,
/// `bn2`, `linear`.
///
/// Taps: `stem` (after its ReLU), `stage1` to `stage3` (after the shuffle), `stage1.pre` to
/// `stage3.pre`, those of the head (`last`, `pooled`). As in the reference, the `.pre` taps are
/// taken before the shuffle too: the last block's untouched half (rectified earlier), then its
/// other half before the ReLU, so their channels come in another order.
pub struct ShuffleNetV2 {
    stem: ConvNorm,
    stages: Vec<(Down, Vec<Basic>)>,
    /// None where the head takes its place.
    last: Option<ConvNorm>,
    head: Head,
    about: About,
}

/// Halves the map: two branches that see all channels, side by side.
struct Down {
    left: [ConvNorm; 2],
    right: [ConvNorm; 3],
}

/// Works on the second half of the channels.
struct Basic([ConvNorm; 3]);

impl ShuffleNetV2 {
    /// Builds the network; `precision` is that of its convolutions, and `vb` decides whether its
    /// parameters train. All begin as PyTorch's default.
    ///
    /// # Errors
    /// When a parameter cannot be made.
    pub fn new(
        classes: usize,
        head: &HeadSpec,
        precision: Precision,
        vb: VarBuilder,
    ) -> Result<Self> {
        let mut make = Maker::new(ConvInit::Uniform, precision);
        let stem = make.conv_norm(&vb, ["conv1", "bn1"], (3, STEM), Window::new(1, 1), SIDE)?;
        let mut taps = vec![tap("stem", STEM, SIDE, Activated::After)];
        let (mut channels, mut side, mut stages) = (STEM, SIDE, Vec::new());
        for (stage, &(out, blocks)) in (1..).zip(&STAGES) {
            let vb = vb.pp(format!("layer{stage}"));
            let down = Down::new(&mut make, vb.pp("0"), channels, out, side)?;
            (channels, side) = (out, side / 2);
            let basic = (1..=blocks).map(|i| Basic::new(&mut make, vb.pp(i), out, side));
            stages.push((down, basic.collect::<Result<_>>()?));
            taps.push(tap(format!("stage{stage}.pre"), out, side, Activated::Before));
            taps.push(tap(format!("stage{stage}"), out, side, Activated::After));
        }
        let last = if head.replaces_last_convolution() {
            None
        } else {
            let window = Window::new(1, 1);
            let layer = make.conv_norm(&vb, ["conv2", "bn2"], (channels, LAST), window, side)?;
            channels = LAST;
            Some(layer)
        };
        let place = Place { vb: &vb, name: "linear", channels, side };
        let head = Head::new(&mut make, place, classes, DenseInit::Uniform, head)?;
        taps.extend(head.taps().iter().cloned());
        let about = About { taps, classes, multiply_adds: make.multiply_adds };
        Ok(Self { stem, stages, last, head, about })
    }
}

impl Down {
    fn new(make: &mut Maker, vb: VarBuilder, cin: usize, cout: usize, side: usize) -> Result<Self> {
        let (half, one, halve) = (cout / 2, Window::new(1, 1), Window::new(3, 2));
        let left = [
            make.conv_norm(&vb, ["conv1", "bn1"], (cin, cin), halve.grouped(cin), side)?,
            make.conv_norm(&vb, ["conv2", "bn2"], (cin, half), one, side / 2)?,
        ];
        let right = [
            make.conv_norm(&vb, ["conv3", "bn3"], (cin, half), one, side)?,
            make.conv_norm(&vb, ["conv4", "bn4"], (half, half), halve.grouped(half), side)?,
            make.conv_norm(&vb, ["conv5", "bn5"], (half, half), one, side / 2)?,
        ];
        Ok(Self { left, right })
    }

    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        let left = self.left[0].forward(xs, None, Activation::None, mode)?;
        let left = self.left[1].forward(&left, None, Activation::Relu, mode)?;
        let right = self.right[0].forward(xs, None, Activation::Relu, mode)?;
        let right = self.right[1].forward(&right, None, Activation::None, mode)?;
        let right = self.right[2].forward(&right, None, Activation::Relu, mode)?;
        Ok(channel_shuffle(&Tensor::cat(&[left, right], 1)?, 2)?)
    }
}

impl Basic {
    fn new(make: &mut Maker, vb: VarBuilder, channels: usize, side: usize) -> Result<Self> {
        let half = channels / 2;
        Ok(Self([
            make.conv_norm(&vb, ["conv1", "bn1"], (half, half), Window::new(1, 1), side)?,
            make.conv_norm(
                &vb,
                ["conv2", "bn2"],
                (half, half),
                Window::new(3, 1).grouped(half),
                side,
            )?,
            make.conv_norm(&vb, ["conv3", "bn3"], (half, half), Window::new(1, 1), side)?,
        ]))
    }

    /// The block's output. `before` sees it before the last ReLU and the shuffle; where that is
    /// `None` the ReLU is fused.
    fn forward(
        &self,
        xs: &Tensor,
        before: Option<&mut dyn FnMut(&Tensor)>,
        mode: Mode,
    ) -> Result<Tensor> {
        let Self([first, depthwise, last]) = self;
        let half = xs.dim(1)? / 2;
        let (kept, worked) = (xs.narrow(1, 0, half)?, xs.narrow(1, half, half)?);
        let inner = first.forward(&worked, None, Activation::Relu, mode)?;
        let inner = depthwise.forward(&inner, None, Activation::None, mode)?;
        let out = match before {
            None => last.forward(&inner, None, Activation::Relu, mode)?,
            Some(see) => {
                let signed = last.forward(&inner, None, Activation::None, mode)?;
                see(&Tensor::cat(&[&kept, &signed], 1)?);
                relu(&signed)?
            }
        };
        Ok(channel_shuffle(&Tensor::cat(&[kept, out], 1)?, 2)?)
    }
}

impl Model for ShuffleNetV2 {
    fn about(&self) -> &About {
        &self.about
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        let mut request = TapRequest::of(self, taps)?;
        let mut xs = self.stem.forward(xs, None, Activation::Relu, mode)?;
        request.offer("stem", &xs);
        for (stage, (down, blocks)) in (1..).zip(&self.stages) {
            xs = down.forward(&xs, mode)?;
            let name = format!("stage{stage}.pre");
            for (i, block) in (1..).zip(blocks) {
                xs = if i == blocks.len() && request.wants(&name) {
                    block.forward(&xs, Some(&mut |before| request.offer(&name, before)), mode)?
                } else {
                    block.forward(&xs, None, mode)?
                };
            }
            request.offer(&format!("stage{stage}"), &xs);
        }
        if let Some(last) = &self.last {
            xs = last.forward(&xs, None, Activation::Relu, mode)?;
        }
        self.head.outputs(request, &xs, mode)
    }

    fn classifier(&self) -> Option<Classifier> {
        self.head.classifier()
    }
}
