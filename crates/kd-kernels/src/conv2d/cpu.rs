//! Convolution on the CPU: which algorithm runs each of the three passes.

use super::epilogue::Epilogue;
use super::shape::Shape;
use super::{Precision, depthwise, implicit, winograd};
use crate::graph::{Backward, Grad, record, sum, values};
use crate::vector::Isa;
use candle_core::{Result, Tensor};

/// Applies the kernel. The shape is that of the operands; all tensors are `f32` on the CPU.
pub(super) fn conv2d(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    shape: Shape,
    precision: Precision,
) -> Result<Tensor> {
    let op = Conv2d { shape, precision };
    let (x, w, b) = (x.contiguous()?, w.contiguous()?, b.map(|b| b.contiguous()).transpose()?);
    let y = {
        let bias = b.as_ref().map(values).transpose()?;
        op.forward(&values(&x)?, &values(&w)?, Epilogue::bias(bias.as_deref()))?
    };
    let mut inputs = vec![&x, &w];
    inputs.extend(&b);
    let dims = (shape.n, shape.cout, shape.ho, shape.wo);
    record(&inputs, y, dims, false, || Ok(Recorded { op, x: x.detach(), w: w.detach() }))
}

/// A convolution and what its backward pass reads.
struct Recorded {
    op: Conv2d,
    x: Tensor,
    w: Tensor,
}

impl Backward for Recorded {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let g = grad.values()?;
        let dx =
            if wanted[0] { Some(self.op.input_gradient(&g, &values(&self.w)?)?) } else { None };
        let dw =
            if wanted[1] { Some(self.op.weight_gradient(&values(&self.x)?, &g)?) } else { None };
        let db = (wanted.len() > 2 && wanted[2]).then(|| self.op.bias_gradient(&g));
        Ok([dx, dw, db].into_iter().take(wanted.len()).map(|grad| grad.map(Grad::Owned)).collect())
    }
}

/// A convolution of one shape.
pub(super) struct Conv2d {
    pub shape: Shape,
    pub precision: Precision,
}

/// An algorithm for one pass of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    /// Each channel by itself.
    Depthwise,
    /// A matrix product over panels of pixels under the kernel. Takes every shape.
    Implicit,
    /// Winograd's, for 3×3 with stride 1.
    Winograd,
}

/// The three passes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
}

/// The algorithm for this pass of this shape.
fn choose(shape: &Shape, pass: Pass, precision: Precision) -> Algorithm {
    if depthwise::serves(shape) {
        return Algorithm::Depthwise;
    }
    // An image's three channels leave Winograd's products too short: 3 > 64 at 32x32 takes 0.56 ms
    // directly, 0.84 (F2) or 0.72 (F4) there, and the gradient of w 0.86 against 1.54 or 0.96;
    // 16 images on one thread. From four channels on it is at least a tie.
    let image = shape.cin <= 3 && pass != Pass::InputGradient;
    if !image && winograd::serves(shape, precision) {
        return Algorithm::Winograd;
    }
    Algorithm::Implicit
}

impl Conv2d {
    /// y, `[n, out, ho, wo]`.
    pub(super) fn forward(&self, x: &[f32], w: &[f32], epilogue: Epilogue) -> Result<Vec<f32>> {
        epilogue.check(self.shape.cout, self.shape.y_len());
        match choose(&self.shape, Pass::Forward, self.precision) {
            Algorithm::Depthwise => {
                Ok(depthwise::forward(Isa::best(), &self.shape, x, w, epilogue))
            }
            Algorithm::Implicit => Ok(implicit::forward(Isa::best(), &self.shape, x, w, epilogue)),
            Algorithm::Winograd => {
                Ok(winograd::forward(&self.shape, self.precision, x, w, epilogue))
            }
        }
    }

    fn input_gradient(&self, g: &[f32], w: &[f32]) -> Result<Vec<f32>> {
        match choose(&self.shape, Pass::InputGradient, self.precision) {
            Algorithm::Depthwise => Ok(depthwise::input_gradient(Isa::best(), &self.shape, g, w)),
            Algorithm::Implicit => Ok(implicit::input_gradient(Isa::best(), &self.shape, g, w)),
            Algorithm::Winograd => Ok(winograd::input_gradient(&self.shape, self.precision, g, w)),
        }
    }

    fn weight_gradient(&self, x: &[f32], g: &[f32]) -> Result<Vec<f32>> {
        match choose(&self.shape, Pass::WeightGradient, self.precision) {
            Algorithm::Depthwise => Ok(depthwise::weight_gradient(Isa::best(), &self.shape, x, g)),
            Algorithm::Implicit => Ok(implicit::weight_gradient(Isa::best(), &self.shape, x, g)),
            Algorithm::Winograd => Ok(winograd::weight_gradient(&self.shape, self.precision, x, g)),
        }
    }

    /// The sums of g over images and pixels, by channel.
    fn bias_gradient(&self, g: &[f32]) -> Vec<f32> {
        use rayon::prelude::*;
        let (pixels, cout) = (self.shape.ho * self.shape.wo, self.shape.cout);
        let channel = |o: usize| {
            (0..self.shape.n).map(|i| plane_sum(&g[(i * cout + o) * pixels..][..pixels])).sum()
        };
        (0..cout).into_par_iter().map(channel).collect()
    }
}

/// The sum of a plane in 16 interleaved sums, which the compiler keeps in registers.
fn plane_sum(plane: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (lines, rest) = plane.as_chunks::<16>();
    for line in lines {
        sums.iter_mut().zip(line).for_each(|(sum, v)| *sum += v);
    }
    sums.iter().chain(rest).sum()
}
