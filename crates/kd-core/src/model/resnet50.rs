//! ResNet50 with a stem for small images: "Deep residual learning for image recognition" (He et al.
//! 2016), as the benchmark of "Contrastive representation distillation" (Tian et al. 2020) cut it.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::conv2d::Precision;

use super::head::{Head, HeadSpec, Place};
use super::layers::{ConvInit, ConvNorm, DenseInit, Maker, SIDE, Window};
use super::tap_request::{TapRequest, tap};
use super::{About, Activated, Classifier, Mode, Model, Outputs};
use crate::Result;

/// Blocks of the stages.
const BLOCKS: [usize; 4] = [3, 4, 6, 3];
/// A block's output has this many times the channels of its 3×3 convolution.
const EXPANSION: usize = 4;

/// Four stages of bottleneck blocks, 256 to 2048 channels; the stride is on the 3×3 convolution.
///
/// Input `[batch, 3, 32, 32]`. Parameters have the names of the reference: `conv1`, `bn1`,
/// `layer{1..4}.{i}.conv{1..3}`, `.bn{1..3}`, `.shortcut.{0,1}`, `linear`.
///
/// Taps: `stem` (after its ReLU), `stage1` to `stage4` (after the last ReLU), `stage1.pre` to
/// `stage4.pre` (the sum before it), those of the head (`last`, `pooled`).
pub struct ResNet50 {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    head: Head,
    about: About,
}

struct Block {
    reduce: ConvNorm,
    middle: ConvNorm,
    expand: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl ResNet50 {
    /// Builds the network; `precision` is that of its convolutions, and `vb` decides whether its
    /// parameters train. Convolutions begin normal by fan-out, the classifier as PyTorch's
    /// default.
    ///
    /// # Errors
    /// When a parameter cannot be made.
    pub fn new(
        classes: usize,
        head: &HeadSpec,
        precision: Precision,
        vb: VarBuilder,
    ) -> Result<Self> {
        let mut make = Maker::new(ConvInit::HeNormal, precision);
        let stem = make.conv_norm(&vb, ["conv1", "bn1"], (3, 64), Window::new(3, 1), SIDE)?;
        let mut taps = vec![tap("stem", 64, SIDE, Activated::After)];
        let (mut channels, mut side, mut stages) = (64, SIDE, Vec::new());
        for (stage, &blocks) in (1..).zip(&BLOCKS) {
            let (inner, mut stride) = (32 << stage, if stage == 1 { 1 } else { 2 });
            let mut made = Vec::new();
            for i in 0..blocks {
                made.push(Block::new(
                    &mut make,
                    vb.pp(format!("layer{stage}.{i}")),
                    channels,
                    inner,
                    stride,
                    side,
                )?);
                (channels, side, stride) = (EXPANSION * inner, side / stride, 1);
            }
            stages.push(made);
            let before = tap(format!("stage{stage}.pre"), channels, side, Activated::Before);
            taps.push(before.made_by(format!("layer{stage}.{}.bn3", blocks - 1)));
            taps.push(tap(format!("stage{stage}"), channels, side, Activated::After));
        }
        let place = Place { vb: &vb, name: "linear", channels, side };
        let head = Head::new(&mut make, place, classes, DenseInit::Uniform, head)?;
        taps.extend(head.taps().iter().cloned());
        let about = About { taps, classes, multiply_adds: make.multiply_adds };
        Ok(Self { stem, stages, head, about })
    }
}

impl Block {
    fn new(
        make: &mut Maker,
        vb: VarBuilder,
        cin: usize,
        inner: usize,
        stride: usize,
        side: usize,
    ) -> Result<Self> {
        let cout = EXPANSION * inner;
        let reduce =
            make.conv_norm(&vb, ["conv1", "bn1"], (cin, inner), Window::new(1, 1), side)?;
        let middle =
            make.conv_norm(&vb, ["conv2", "bn2"], (inner, inner), Window::new(3, stride), side)?;
        let expand =
            make.conv_norm(&vb, ["conv3", "bn3"], (inner, cout), Window::new(1, 1), side / stride)?;
        let shortcut = if stride != 1 || cin != cout {
            Some(make.conv_norm(
                &vb.pp("shortcut"),
                ["0", "1"],
                (cin, cout),
                Window::new(1, stride),
                side,
            )?)
        } else {
            None
        };
        Ok(Self { reduce, middle, expand, shortcut })
    }

    fn forward(&self, xs: &Tensor, act: Activation, mode: Mode) -> Result<Tensor> {
        let inner = self.reduce.forward(xs, None, Activation::Relu, mode)?;
        let inner = self.middle.forward(&inner, None, Activation::Relu, mode)?;
        let projected = self
            .shortcut
            .as_ref()
            .map(|s| s.forward(xs, None, Activation::None, mode))
            .transpose()?;
        self.expand.forward(&inner, Some(projected.as_ref().unwrap_or(xs)), act, mode)
    }
}

impl Model for ResNet50 {
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
