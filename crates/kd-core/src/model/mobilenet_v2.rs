//! MobileNetV2 of half the width for small images: "MobileNetV2: inverted residuals and linear
//! bottlenecks" (Sandler et al. 2018), as the benchmark of "Contrastive representation
//! distillation" (Tian et al. 2020) cut it, with plain ReLU.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::conv2d::Precision;

use super::head::{Head, HeadSpec, Place};
use super::layers::{ConvInit, ConvNorm, DenseInit, Maker, SIDE, Window};
use super::tap_request::{TapRequest, tap};
use super::{About, Activated, Classifier, Mode, Model, Outputs};
use crate::Result;

/// One group of blocks: expansion, channels, blocks, stride of the first; and the stage that ends
/// with it.
struct Group {
    expansion: usize,
    channels: usize,
    blocks: usize,
    stride: usize,
    stage: Option<usize>,
}

const fn group(
    expansion: usize,
    channels: usize,
    blocks: usize,
    stride: usize,
    stage: Option<usize>,
) -> Group {
    Group { expansion, channels, blocks, stride, stage }
}

const GROUPS: [Group; 7] = [
    group(1, 8, 1, 1, None),
    group(6, 12, 2, 1, Some(1)),
    group(6, 16, 3, 2, Some(2)),
    group(6, 32, 4, 2, None),
    group(6, 48, 3, 1, Some(3)),
    group(6, 80, 3, 2, None),
    group(6, 160, 1, 1, Some(4)),
];

/// Channels before the pool.
const LAST: usize = 1280;

/// Inverted residual blocks of half the usual width, between a stem of stride 2 and a 1×1
/// convolution to 1280 channels.
///
/// Input `[batch, 3, 32, 32]`. Parameters have the names of the reference: `conv1.{0,1}`,
/// `blocks.{g}.{i}.conv.{0,1,3,4,6,7}`, `conv2.{0,1}`, `classifier.0`.
///
/// Taps: `stem` (after its ReLU), `stage1` to `stage4` (ends of groups 1, 2, 4 and 6: linear, of
/// either sign), those of the head (`last`, `pooled`).
pub struct MobileNetV2 {
    stem: ConvNorm,
    groups: Vec<Vec<Block>>,
    /// None where the head takes its place.
    last: Option<ConvNorm>,
    head: Head,
    about: About,
}

/// Expansion, depthwise convolution and projection.
struct Block {
    expand: ConvNorm,
    depthwise: ConvNorm,
    project: ConvNorm,
    residual: bool,
}

impl MobileNetV2 {
    /// Builds the network; `precision` is that of its convolutions, and `vb` decides whether its
    /// parameters train. Convolutions begin normal by kernel² · out, the classifier normal with
    /// standard deviation 0.01 and biases of 0.
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
        let stem = make.conv_norm(&vb.pp("conv1"), ["0", "1"], (3, 16), Window::new(3, 2), SIDE)?;
        let (mut channels, mut side) = (16, SIDE / 2);
        let mut taps = vec![tap("stem", channels, side, Activated::After)];
        let mut groups = Vec::new();
        for (g, group) in GROUPS.iter().enumerate() {
            let (mut blocks, mut stride) = (Vec::new(), group.stride);
            for i in 0..group.blocks {
                let vb = vb.pp(format!("blocks.{g}.{i}.conv"));
                blocks.push(Block::new(
                    &mut make,
                    vb,
                    (channels, group.channels),
                    group.expansion,
                    stride,
                    side,
                )?);
                (channels, side, stride) = (group.channels, side / stride, 1);
            }
            groups.push(blocks);
            if let Some(stage) = group.stage {
                taps.push(tap(format!("stage{stage}"), channels, side, Activated::Before));
            }
        }
        let last = if head.replaces_last_convolution() {
            None
        } else {
            let window = Window::new(1, 1);
            let layer =
                make.conv_norm(&vb.pp("conv2"), ["0", "1"], (channels, LAST), window, side)?;
            channels = LAST;
            Some(layer)
        };
        let place = Place { vb: &vb, name: "classifier.0", channels, side };
        let head = Head::new(&mut make, place, classes, DenseInit::SmallNormal, head)?;
        taps.extend(head.taps().iter().cloned());
        let about = About { taps, classes, multiply_adds: make.multiply_adds };
        Ok(Self { stem, groups, last, head, about })
    }
}

impl Block {
    fn new(
        make: &mut Maker,
        vb: VarBuilder,
        (cin, cout): (usize, usize),
        expansion: usize,
        stride: usize,
        side: usize,
    ) -> Result<Self> {
        let inner = cin * expansion;
        let expand = make.conv_norm(&vb, ["0", "1"], (cin, inner), Window::new(1, 1), side)?;
        let depthwise = make.conv_norm(
            &vb,
            ["3", "4"],
            (inner, inner),
            Window::new(3, stride).grouped(inner),
            side,
        )?;
        let project =
            make.conv_norm(&vb, ["6", "7"], (inner, cout), Window::new(1, 1), side / stride)?;
        Ok(Self { expand, depthwise, project, residual: stride == 1 && cin == cout })
    }

    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        let inner = self.expand.forward(xs, None, Activation::Relu, mode)?;
        let inner = self.depthwise.forward(&inner, None, Activation::Relu, mode)?;
        self.project.forward(&inner, self.residual.then_some(xs), Activation::None, mode)
    }
}

impl Model for MobileNetV2 {
    fn about(&self) -> &About {
        &self.about
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        let mut request = TapRequest::of(self, taps)?;
        let mut xs = self.stem.forward(xs, None, Activation::Relu, mode)?;
        request.offer("stem", &xs);
        for (group, blocks) in GROUPS.iter().zip(&self.groups) {
            for block in blocks {
                xs = block.forward(&xs, mode)?;
            }
            if let Some(stage) = group.stage {
                request.offer(&format!("stage{stage}"), &xs);
            }
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
