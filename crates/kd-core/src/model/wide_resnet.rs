//! Wide residual networks: "Wide residual networks" (Zagoruyko and Komodakis 2016), without
//! dropout.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::add::add;
use kd_kernels::conv2d::Precision;
use kd_kernels::relu::relu;

use super::head::{Head, HeadSpec, Place};
use super::layers::{BatchNorm, Conv, ConvInit, ConvNorm, DenseInit, Maker, SIDE, Window};
use super::tap_request::{TapRequest, tap};
use super::{About, Activated, Classifier, Mode, Model, Outputs};
use crate::{Error, Result};

/// A residual network of three stages of pre-activation blocks, 16, 32 and 64 times `width`
/// channels.
///
/// Input `[batch, 3, 32, 32]`. Depth 6n + 4 makes n blocks a stage. Parameters have the names of
/// the reference: `conv1`, `block{1..3}.layer.{i}.bn{1,2}`, `.conv{1,2}`, `.convShortcut`, `bn1`,
/// `fc`.
///
/// Taps: `stem` and `stage1` to `stage3`, the raw sums, of either sign; `stage1.pre` to
/// `stage3.pre`, the same after the batch-norm that follows, before its ReLU; after the ReLU those
/// of the head (`last`, `pooled`). A batch-norm runs once a pass, whether its output is asked for
/// or not; the reference runs it a second time for the tap, and moves its running statistics twice
/// when that happens in training.
pub struct WideResNet {
    stem: Conv,
    stages: Vec<Vec<Block>>,
    norm: BatchNorm,
    head: Head,
    about: About,
}

/// Batch-norm, ReLU, convolution, twice, and a shortcut.
struct Block {
    norm: BatchNorm,
    first: ConvNorm,
    second: Conv,
    shortcut: Option<Conv>,
}

impl WideResNet {
    /// Builds the network; `precision` is that of its convolutions, and `vb` decides whether its
    /// parameters train. Convolutions begin normal by fan-out, the classifier's weight as
    /// PyTorch's default and its bias at 0.
    ///
    /// # Errors
    /// Bad input when the depth is not 6n + 4, from 10 to 1204, or the width not 1 to 64.
    pub fn new(
        depth: usize,
        width: usize,
        classes: usize,
        head: &HeadSpec,
        precision: Precision,
        vb: VarBuilder,
    ) -> Result<Self> {
        if !(10..=1204).contains(&depth)
            || !(depth - 4).is_multiple_of(6)
            || !(1..=64).contains(&width)
        {
            let expected = "expected a depth of 6n + 4, from 10 to 1204, and a width of 1 to 64";
            return Err(Error::bad_input(format!(
                "wide-resnet: {expected}, got {depth} and {width}"
            )));
        }
        let mut make = Maker::new(ConvInit::HeNormal, precision);
        let mut taps = vec![tap("stem", 16, SIDE, Activated::Before)];
        let stem = make.conv(vb.pp("conv1"), 3, 16, Window::new(3, 1), SIDE)?;
        let (mut channels, mut side, mut stages) = (16, SIDE, Vec::new());
        for stage in 1..=3 {
            let (out, mut stride) = ((16 * width) << (stage - 1), if stage == 1 { 1 } else { 2 });
            let mut blocks = Vec::new();
            for i in 0..(depth - 4) / 6 {
                blocks.push(Block::new(
                    &mut make,
                    vb.pp(format!("block{stage}.layer.{i}")),
                    channels,
                    out,
                    stride,
                    side,
                )?);
                (channels, side, stride) = (out, side / stride, 1);
            }
            stages.push(blocks);
            let norm =
                if stage < 3 { format!("block{}.layer.0.bn1", stage + 1) } else { "bn1".into() };
            taps.push(tap(format!("stage{stage}.pre"), out, side, Activated::Before).made_by(norm));
            taps.push(tap(format!("stage{stage}"), out, side, Activated::Before));
        }
        let norm = BatchNorm::new(vb.pp("bn1"), channels)?;
        let place = Place { vb: &vb, name: "fc", channels, side };
        let head = Head::new(&mut make, place, classes, DenseInit::UniformZeroBias, head)?;
        taps.extend(head.taps().iter().cloned());
        let about = About { taps, classes, multiply_adds: make.multiply_adds };
        Ok(Self { stem, stages, norm, head, about })
    }
}

impl Block {
    fn new(
        make: &mut Maker,
        vb: VarBuilder,
        cin: usize,
        cout: usize,
        stride: usize,
        side: usize,
    ) -> Result<Self> {
        let norm = BatchNorm::new(vb.pp("bn1"), cin)?;
        let first =
            make.conv_norm(&vb, ["conv1", "bn2"], (cin, cout), Window::new(3, stride), side)?;
        let second = make.conv(vb.pp("conv2"), cout, cout, Window::new(3, 1), side / stride)?;
        let shortcut = if cin == cout {
            None
        } else {
            Some(make.conv(vb.pp("convShortcut"), cin, cout, Window::new(1, stride), side)?)
        };
        Ok(Self { norm, first, second, shortcut })
    }

    /// The block's output for the input `xs` that, normalised and rectified, is `active`.
    fn forward(&self, xs: &Tensor, active: &Tensor, mode: Mode) -> Result<Tensor> {
        let inner = self.first.forward(active, None, Activation::Relu, mode)?;
        let branch = self.second.forward(&inner, mode)?;
        let projected = self.shortcut.as_ref().map(|s| s.forward(active, mode)).transpose()?;
        Ok(add(&branch, projected.as_ref().unwrap_or(xs))?)
    }
}

/// The raw sums of a stage, normalised and rectified, and offered in between where that was asked
/// for.
fn activate(
    norm: &BatchNorm,
    xs: &Tensor,
    stage: usize,
    request: &mut TapRequest,
    mode: Mode,
) -> Result<Tensor> {
    let name = format!("stage{stage}.pre");
    if !request.wants(&name) {
        return norm.forward(xs, None, Activation::Relu, mode);
    }
    let before = norm.forward(xs, None, Activation::None, mode)?;
    request.offer(&name, &before);
    Ok(relu(&before)?)
}

impl Model for WideResNet {
    fn about(&self) -> &About {
        &self.about
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        let mut request = TapRequest::of(self, taps)?;
        let mut xs = self.stem.forward(xs, mode)?;
        request.offer("stem", &xs);
        for (stage, blocks) in (1..).zip(&self.stages) {
            for (i, block) in blocks.iter().enumerate() {
                let active = match i {
                    0 => activate(&block.norm, &xs, stage - 1, &mut request, mode)?,
                    _ => block.norm.forward(&xs, None, Activation::Relu, mode)?,
                };
                xs = block.forward(&xs, &active, mode)?;
            }
            request.offer(&format!("stage{stage}"), &xs);
        }
        let last = activate(&self.norm, &xs, self.stages.len(), &mut request, mode)?;
        self.head.outputs(request, &last, mode)
    }

    fn classifier(&self) -> Option<Classifier> {
        self.head.classifier()
    }
}
