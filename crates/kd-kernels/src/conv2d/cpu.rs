//! Convolution on the CPU: which algorithm runs each of the three passes.

use super::shape::Shape;
use super::{Precision, im2col, winograd};
use crate::backward::deposit;
use crate::operand::contiguous_f32;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Storage, Tensor, bail};

/// Applies the kernel. The shape is that of the operands; all tensors are `f32` on the CPU.
pub(super) fn conv2d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, shape: Shape, precision: Precision) -> Result<Tensor> {
    let op = Conv2d { shape, precision };
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    match b {
        Some(b) => x.apply_op3(&w, &b.contiguous()?, op),
        None => x.apply_op2(&w, op),
    }
}

struct Conv2d {
    shape: Shape,
    precision: Precision,
}

/// An algorithm for one pass of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    /// Copies of the image under the kernel, as a matrix product. Takes every shape.
    Im2col,
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
fn choose(shape: &Shape, _pass: Pass, precision: Precision) -> Algorithm {
    if winograd::serves(shape, precision) {
        return Algorithm::Winograd;
    }
    Algorithm::Im2col
}

impl Conv2d {
    fn forward(&self, x: &[f32], w: &[f32], b: Option<&[f32]>) -> Result<Vec<f32>> {
        match choose(&self.shape, Pass::Forward, self.precision) {
            Algorithm::Im2col => im2col::forward(&self.shape, x, w, b),
            Algorithm::Winograd => Ok(winograd::forward(&self.shape, self.precision, x, w, b)),
        }
    }

    fn input_gradient(&self, g: &[f32], w: &[f32]) -> Result<Vec<f32>> {
        match choose(&self.shape, Pass::InputGradient, self.precision) {
            Algorithm::Im2col => im2col::input_gradient(&self.shape, g, w),
            Algorithm::Winograd => Ok(winograd::input_gradient(&self.shape, self.precision, g, w)),
        }
    }

    fn weight_gradient(&self, x: &[f32], g: &[f32]) -> Result<Vec<f32>> {
        match choose(&self.shape, Pass::WeightGradient, self.precision) {
            Algorithm::Im2col => im2col::weight_gradient(&self.shape, x, g),
            Algorithm::Winograd => Ok(winograd::weight_gradient(&self.shape, self.precision, x, g)),
        }
    }

    fn backward(&self, x: &Tensor, w: &Tensor, b: Option<&Tensor>, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let grad = grad.contiguous()?;
        let (gs, gl) = grad.storage_and_layout();
        let g = contiguous_f32(cpu(&gs)?, gl, "conv2d")?;
        let dx = if x.track_op() {
            let (ws, wl) = w.storage_and_layout();
            let dx = self.input_gradient(g, contiguous_f32(cpu(&ws)?, wl, "conv2d")?)?;
            deposit(x, Tensor::from_vec(dx, x.shape(), x.device())?)?
        } else {
            None
        };
        let dw = if w.track_op() {
            let (xs, xl) = x.storage_and_layout();
            let dw = self.weight_gradient(contiguous_f32(cpu(&xs)?, xl, "conv2d")?, g)?;
            deposit(w, Tensor::from_vec(dw, w.shape(), w.device())?)?
        } else {
            None
        };
        let db = match b {
            Some(b) if b.track_op() => deposit(b, Tensor::from_vec(self.bias_gradient(g), b.shape(), b.device())?)?,
            _ => None,
        };
        Ok([dx, dw, db])
    }

    /// The sums of g over images and pixels, by channel.
    fn bias_gradient(&self, g: &[f32]) -> Vec<f32> {
        use rayon::prelude::*;
        let (pixels, cout) = (self.shape.ho * self.shape.wo, self.shape.cout);
        let channel = |o: usize| (0..self.shape.n).map(|i| g[(i * cout + o) * pixels..][..pixels].iter().sum::<f32>()).sum();
        (0..cout).into_par_iter().map(channel).collect()
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, candle_core::Shape)> {
        let y = self.forward(contiguous_f32(x, xl, "conv2d")?, contiguous_f32(w, wl, "conv2d")?, None)?;
        Ok((CpuStorage::F32(y), self.result_shape()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.backward(x, w, None, grad)?;
        Ok((dx, dw))
    }
}

type Three = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, candle_core::Shape)> {
        let b = contiguous_f32(b, bl, "conv2d")?;
        let y = self.forward(contiguous_f32(x, xl, "conv2d")?, contiguous_f32(w, wl, "conv2d")?, Some(b))?;
        Ok((CpuStorage::F32(y), self.result_shape()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, b: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Three> {
        let [dx, dw, db] = self.backward(x, w, Some(b), grad)?;
        Ok((dx, dw, db))
    }
}

impl Conv2d {
    fn result_shape(&self) -> candle_core::Shape {
        (self.shape.n, self.shape.cout, self.shape.ho, self.shape.wo).into()
    }
}

fn cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => bail!("conv2d: the kernel was given a tensor that is not on the CPU"),
    }
}
