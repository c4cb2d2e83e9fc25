//! ShuffleNetV1 of three groups for small images: "ShuffleNet: an extremely efficient convolutional
//! neural network" (Zhang et al. 2018), as the benchmark of "Contrastive representation
//! distillation" (Tian et al. 2020) cut it.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::channel_shuffle::channel_shuffle;
use kd_kernels::conv2d::Precision;
use kd_kernels::pool::avg_pool2d;

use super::head::{Head, HeadSpec, Place};
use super::layers::{ConvInit, ConvNorm, DenseInit, Maker, SIDE, Window};
use super::tap_request::{TapRequest, tap};
use super::{About, Activated, Classifier, Mode, Model, Outputs};
use crate::Result;

const STEM: usize = 24;
/// Channels and blocks of the stages.
const STAGES: [(usize, usize); 3] = [(240, 4), (480, 8), (960, 4)];
const GROUPS: usize = 3;

/// Blocks of grouped 1×1 convolutions around a depthwise one, with a shuffle of channels in
/// between.
///
/// Input `[batch, 3, 32, 32]`. Unlike the paper, the depthwise convolution is followed by a ReLU.
/// Parameters have the names of the reference: `conv1`, `bn1`, `layer{1..3}.{i}.conv{1..3}`,
/// `.bn{1..3}`, `linear`.
///
/// Taps: `stem` (after its ReLU), `stage1` to `stage3` (after the last ReLU), `stage1.pre` to
/// `stage3.pre` (the sum before it), those of the head (`last`, `pooled`).
pub struct ShuffleNetV1 {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    head: Head,
    about: About,
}

struct Block {
    reduce: ConvNorm,
    groups: usize,
    depthwise: ConvNorm,
    expand: ConvNorm,
    /// Whether the block halves the map and puts its output beside its averaged input, instead of
    /// adding the two.
    halves: bool,
}

impl ShuffleNetV1 {
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
            let mut made = Vec::new();
            for i in 0..blocks {
                made.push(Block::new(
                    &mut make,
                    vb.pp(format!("layer{stage}.{i}")),
                    channels,
                    out,
                    i == 0,
                    side,
                )?);
                (channels, side) = (out, if i == 0 { side / 2 } else { side });
            }
            stages.push(made);
            taps.push(tap(format!("stage{stage}.pre"), out, side, Activated::Before));
            taps.push(tap(format!("stage{stage}"), out, side, Activated::After));
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
        cout: usize,
        halves: bool,
        side: usize,
    ) -> Result<Self> {
        // A block that halves adds its own channels to those of its input. The stem's 24 channels
        // are not cut into groups.
        let (own, stride) = if halves { (cout - cin, 2) } else { (cout, 1) };
        let (inner, groups) = (own / 4, if cin == STEM { 1 } else { GROUPS });
        let reduce = make.conv_norm(
            &vb,
            ["conv1", "bn1"],
            (cin, inner),
            Window::new(1, 1).grouped(groups),
            side,
        )?;
        let depthwise = make.conv_norm(
            &vb,
            ["conv2", "bn2"],
            (inner, inner),
            Window::new(3, stride).grouped(inner),
            side,
        )?;
        let expand = make.conv_norm(
            &vb,
            ["conv3", "bn3"],
            (inner, own),
            Window::new(1, 1).grouped(GROUPS),
            side / stride,
        )?;
        Ok(Self { reduce, groups, depthwise, expand, halves })
    }

    /// The block's output, rectified where `act` says so; a block that halves always rectifies.
    fn forward(&self, xs: &Tensor, act: Activation, mode: Mode) -> Result<Tensor> {
        let inner = self.reduce.forward(xs, None, Activation::Relu, mode)?;
        let inner = if self.groups > 1 { channel_shuffle(&inner, self.groups)? } else { inner };
        let inner = self.depthwise.forward(&inner, None, Activation::Relu, mode)?;
        if !self.halves {
            return self.expand.forward(&inner, Some(xs), act, mode);
        }
        // The averaged input is a mean of rectified values, which a ReLU would leave as it is.
        let own = self.expand.forward(&inner, None, Activation::Relu, mode)?;
        Ok(Tensor::cat(&[own, avg_pool2d(xs, 3, 2, 1, true)?], 1)?)
    }
}

impl Model for ShuffleNetV1 {
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
