//! What brings a student's map to a teacher's channels and size: a convolution with bias and a
//! batch-norm.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::conv2d::{Geometry, Precision, conv2d};

use crate::model::layers::{BatchNorm, Conv, ConvInit, Maker, Window, within};
use crate::model::{Mode, Tap};
use crate::{Error, Result};

/// act(norm(conv(S))), where the convolution follows from the sides of S and of the teacher's T:
///
/// | side of S | convolution |
/// |---|---|
/// | that of T | 1×1 |
/// | twice that of T | 3×3, stride 2, padding 1 |
/// | half that of T | transposed, 4×4, stride 2, padding 1 |
/// | larger by d pixels | (1 + d)×(1 + d), no padding |
///
/// Source: RepDistiller's `ConvReg`. Convolution and bias begin as PyTorch's default.
pub(super) struct Regressor {
    resize: Resize,
    norm: BatchNorm,
    act: Activation,
}

enum Resize {
    Conv(Conv),
    Double(Double),
}

impl Regressor {
    /// For maps of these two taps.
    ///
    /// # Errors
    /// Bad input, which begins with the name of the `method`, when the student's map is smaller
    /// than the teacher's and not of half its side.
    pub fn new(
        vb: &VarBuilder,
        precision: Precision,
        method: &str,
        student: &Tap,
        teacher: &Tap,
        act: Activation,
    ) -> Result<Self> {
        let (from, to) = (student.side(), teacher.side());
        let channels = (student.channels, teacher.channels);
        let conv = |window: Window| -> Result<Resize> {
            let bias = within(1., student.channels * window.kernel * window.kernel);
            let mut make = Maker::new(ConvInit::Uniform, precision);
            Ok(Resize::Conv(make.biased_conv(vb.pp("0"), channels, window, from, bias)?))
        };
        let resize = if from == 2 * to {
            conv(Window::new(3, 2))?
        } else if 2 * from == to {
            Resize::Double(Double::new(vb.pp("0"), precision, channels)?)
        } else if from >= to {
            conv(Window::new(1 + from - to, 1).unpadded())?
        } else {
            let what = format!(
                "{method}: expected a student's map of half the teacher's {to} pixels or at least as many at {}",
                teacher.name
            );
            return Err(Error::bad_input(format!("{what}, got {from}")));
        };
        Ok(Self { resize, norm: BatchNorm::new(vb.pp("1"), teacher.channels)?, act })
    }

    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        let resized = match &self.resize {
            Resize::Conv(conv) => conv.forward(xs, mode)?,
            Resize::Double(double) => double.forward(xs)?,
        };
        self.norm.forward(&resized, None, self.act, mode)
    }
}

/// A transposed convolution that doubles a map's sides: PyTorch's
/// `ConvTranspose2d(in, out, 4, stride=2, padding=1)`.
struct Double {
    /// `[in, out, 4, 4]`.
    weight: Tensor,
    bias: Tensor,
    precision: Precision,
}

impl Double {
    fn new(vb: VarBuilder, precision: Precision, (cin, cout): (usize, usize)) -> Result<Self> {
        // PyTorch counts the fan-in of a transposed convolution over its outputs.
        let init = within(1., 16 * cout);
        Ok(Self {
            weight: vb.get_with_hints((cin, cout, 4, 4), "weight", init)?,
            bias: vb.get_with_hints(cout, "bias", init)?,
            precision,
        })
    }

    /// The sums of an ordinary convolution of x with a zero behind each pixel, by the kernel turned
    /// by half a circle.
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = xs.dims4()?;
        let wide = Tensor::stack(&[xs, &xs.zeros_like()?], 4)?.reshape((n, c, h, 2 * w))?;
        let spread =
            Tensor::stack(&[&wide, &wide.zeros_like()?], 3)?.reshape((n, c, 2 * h, 2 * w))?;
        let turned = Tensor::new(&[3u32, 2, 1, 0], xs.device())?;
        let kernel = self.weight.transpose(0, 1)?.contiguous()?;
        let kernel = kernel.index_select(&turned, 2)?.index_select(&turned, 3)?;
        let geometry = Geometry { stride: 1, padding: 2, groups: 1 };
        let y = conv2d(&spread, &kernel, Some(&self.bias), geometry, self.precision)?;
        // The zeros behind the last row and column make one more.
        Ok(y.narrow(2, 0, 2 * h)?.narrow(3, 0, 2 * w)?.contiguous()?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use kd_kernels::backward;

    use super::*;
    use crate::Seed;

    fn noise(shape: &[usize], part: usize) -> Result<Tensor> {
        let mut values = vec![0f32; shape.iter().product()];
        Seed(3).stream("test", 0, part).fill_normal(0, &mut values);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    #[test]
    fn doubling_is_the_transposed_convolution_of_candle_in_value_and_gradients() -> Result<()> {
        let (x, w) = (Var::from_tensor(&noise(&[2, 3, 4, 5], 1)?)?, noise(&[3, 6, 4, 4], 2)?);
        let (w, bias) = (Var::from_tensor(&w)?, Var::from_tensor(&noise(&[6], 3)?)?);
        let (weight, b) = (w.as_tensor().clone(), bias.as_tensor().clone());
        let double = Double { weight, bias: b, precision: Precision::Precise };
        let up = noise(&[2, 6, 8, 10], 4)?;
        let ours = double.forward(&x)?;
        let theirs =
            x.conv_transpose2d(&w, 1, 0, 2, 1)?.broadcast_add(&bias.reshape((1, 6, 1, 1))?)?;
        let close = |a: &Tensor, b: &Tensor, what: &str| -> Result<()> {
            let far = (a - b)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(far < 1e-4, "{what}: off by {far}");
            Ok(())
        };
        close(&ours, &theirs, "value")?;
        let ours = backward(&(ours * &up)?.sum_all()?)?;
        let theirs = (theirs * &up)?.sum_all()?.backward()?;
        for (var, what) in [(&x, "x"), (&w, "weight"), (&bias, "bias")] {
            let (a, b) = (ours.get(var), theirs.get(var));
            close(a.expect("a gradient"), b.expect("a gradient"), what)?;
        }
        Ok(())
    }
}
