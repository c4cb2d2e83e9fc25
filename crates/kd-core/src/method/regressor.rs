//! What brings a student's map to a teacher's channels and size: a convolution with bias and a
//! batch-norm.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::conv2d::Precision;

use crate::model::layers::{BatchNorm, Conv, ConvInit, Maker, Window, within};
use crate::model::{Mode, Tap};
use crate::{Error, Result};

/// act(norm(conv(S))), where the convolution follows from the sides of S and of the teacher's T:
///
/// | side of S | convolution |
/// |---|---|
/// | that of T | 1×1 |
/// | twice that of T | 3×3, stride 2, padding 1 |
/// | larger by d pixels | (1 + d)×(1 + d), no padding |
///
/// Source: RepDistiller's `ConvReg`. A student whose map is smaller than the teacher's is refused:
/// a transposed convolution stands there. Convolution and bias begin as PyTorch's default.
pub(super) struct Regressor {
    conv: Conv,
    norm: BatchNorm,
    act: Activation,
}

impl Regressor {
    /// For maps of these two taps.
    ///
    /// # Errors
    /// Bad input, which begins with the name of the `method`, when the student's map is smaller
    /// than the teacher's.
    pub fn new(
        vb: &VarBuilder,
        precision: Precision,
        method: &str,
        student: &Tap,
        teacher: &Tap,
        act: Activation,
    ) -> Result<Self> {
        let (from, to) = (student.side(), teacher.side());
        let window = if from == 2 * to {
            Window::new(3, 2)
        } else if from >= to {
            Window::new(1 + from - to, 1).unpadded()
        } else {
            let what = format!(
                "{method}: expected a student's map of at least the teacher's {to} pixels at {}",
                teacher.name
            );
            return Err(Error::bad_input(format!("{what}, got {from}")));
        };
        let bias = within(1., student.channels * window.kernel * window.kernel);
        let mut make = Maker::new(ConvInit::Uniform, precision);
        let conv =
            make.biased_conv(vb.pp("0"), (student.channels, teacher.channels), window, from, bias)?;
        Ok(Self { conv, norm: BatchNorm::new(vb.pp("1"), teacher.channels)?, act })
    }

    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        self.norm.forward(&self.conv.forward(xs, mode)?, None, self.act, mode)
    }
}
