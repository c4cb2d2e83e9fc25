//! What brings levels of different channels and sizes together: section 3.3 of the paper.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use candle_nn::ops::sigmoid;
use kd_kernels::Activation;
use kd_kernels::upsample::upsample_nearest;

use crate::Result;
use crate::model::Mode;
use crate::model::layers::{Conv, ConvInit, ConvNorm, Maker, Window, within};

/// Attention-based fusion (ABF), or the sum in its place, of a level x and the residual y of the level behind it:
///
/// x' = norm(conv1×1(x)), y' = y resized to x'; (a, b) = sigmoid(conv1×1([x'; y'])) are two maps of one channel; r = a·x' + b·y', or
/// x' + y' without attention, and x' alone where there is no y; the residual for the level before is r resized to the teacher's size, and the
/// result norm(conv3×3(residual)).
///
/// Resizing repeats pixels. Nothing is activated. The parts have the names of the official program's checkpoints: `conv1`, `conv2`,
/// `att_conv`.
pub(super) struct Fusion {
    narrow: ConvNorm,
    widen: ConvNorm,
    attention: Option<Conv>,
}

/// What a fusion gives.
pub(super) struct Fused {
    /// For the teacher's map: `[batch, teacher's channels, teacher's size]`.
    pub out: Tensor,
    /// For the next, shallower, level: `[batch, mid, teacher's size]`.
    pub residual: Tensor,
}

impl Fusion {
    /// From `channels` over `mid` to `out` channels. Convolutions begin uniform within ±√(3/fan-in), the attention as PyTorch's default.
    pub fn new(vb: &VarBuilder, channels: usize, mid: usize, out: usize, attends: bool) -> Result<Self> {
        let mut make = Maker::new(ConvInit::KaimingUniform);
        let narrow = make.conv_norm(&vb.pp("conv1"), ["0", "1"], (channels, mid), Window::new(1, 1), 1)?;
        let widen = make.conv_norm(&vb.pp("conv2"), ["0", "1"], (mid, out), Window::new(3, 1), 1)?;
        let attention = attends.then(|| {
            let bias = within(1., 2 * mid);
            Maker::new(ConvInit::Uniform).biased_conv(vb.pp("att_conv").pp("0"), (2 * mid, 2), Window::new(1, 1), 1, bias)
        });
        Ok(Self { narrow, widen, attention: attention.transpose()? })
    }

    /// Fuses the level `xs` with the `residual` behind it, if there is one.
    pub fn forward(&self, xs: &Tensor, residual: Option<&Tensor>, size: (usize, usize), mode: Mode) -> Result<Fused> {
        let mut x = self.narrow.forward(xs, None, Activation::None, mode)?;
        if let Some(residual) = residual {
            let (_, _, height, width) = x.dims4()?;
            let y = upsample_nearest(residual, (height, width))?;
            x = match &self.attention {
                Some(attention) => {
                    let shares = sigmoid(&attention.forward(&Tensor::cat(&[&x, &y], 1)?, mode)?)?;
                    let share = |of: &Tensor, i: usize| of.broadcast_mul(&shares.narrow(1, i, 1)?);
                    (share(&x, 0)? + share(&y, 1)?)?
                }
                None => (x + y)?,
            };
        }
        let residual = upsample_nearest(&x, size)?;
        Ok(Fused { out: self.widen.forward(&residual, None, Activation::None, mode)?, residual })
    }
}

/// A level brought to a teacher's channels and size without any other: norm(conv3×3(resized(norm(conv1×1(x))))), as a [`Fusion`] without
/// a residual.
pub(super) struct Projection(Fusion);

impl Projection {
    /// From `channels` over `mid` to `out` channels.
    pub fn new(vb: &VarBuilder, channels: usize, mid: usize, out: usize) -> Result<Self> {
        Ok(Self(Fusion::new(vb, channels, mid, out, false)?))
    }

    pub fn forward(&self, xs: &Tensor, size: (usize, usize), mode: Mode) -> Result<Tensor> {
        Ok(self.0.forward(xs, None, size, mode)?.out)
    }
}
