//! The kernel behind [`super::linear`]: matrix products whose last step adds the bias and applies ReLU.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::Activation;
use crate::backward::hand_over;
use crate::gemm::{Epilogue, MatRef, gemm};
use crate::operand::{TASK, contiguous_f32};

/// A matrix operand in whatever strides it has.
fn matrix<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<MatRef<'a>> {
    let (rows, cols) = layout.shape().dims2()?;
    let strides = layout.stride();
    let data = &storage.as_slice::<f32>()?[layout.start_offset()..];
    MatRef::new(data, rows, cols, strides[0], strides[1])
}

pub(super) struct Linear {
    pub(super) activation: Activation,
}

impl Linear {
    fn forward(&self, x: MatRef, w: MatRef, bias: Option<&[f32]>) -> Result<(CpuStorage, Shape)> {
        let epilogue = match (bias, self.activation) {
            (None, Activation::None) => Epilogue::Identity,
            (None, Activation::Relu) => Epilogue::Relu,
            (Some(bias), Activation::None) => Epilogue::Bias(bias),
            (Some(bias), Activation::Relu) => Epilogue::BiasRelu(bias),
        };
        let shape = Shape::from((x.rows(), w.rows()));
        Ok((CpuStorage::F32(gemm(x, w.t(), epilogue)?), shape))
    }

    /// The gradient of the affine map's result.
    fn before_activation(&self, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        match self.activation {
            Activation::None => Ok(grad.clone()),
            Activation::Relu => grad.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &WherePositive),
        }
    }
}

/// ∂x, where anything depends on it, and ∂w, for g the gradient of the affine map's result.
fn operand_grads(x: &Tensor, w: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let dx = match x.track_op() {
        true => hand_over(x, g.apply_op2_no_bwd(w, &Product)?)?,
        false => None,
    };
    let dw = match w.track_op() {
        true => hand_over(w, g.t()?.apply_op2_no_bwd(x, &Product)?)?,
        false => None,
    };
    Ok((dx, dw))
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(matrix(x, xl)?, matrix(w, wl)?, None)
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        operand_grads(x, w, &self.before_activation(y, grad)?)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(matrix(x, xl)?, matrix(w, wl)?, Some(contiguous_f32(b, bl, "linear")?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = self.before_activation(y, grad)?;
        let (dx, dw) = operand_grads(x, w, &g)?;
        let db = match b.track_op() {
            true => hand_over(b, g.contiguous()?.apply_op1_no_bwd(&ColumnSums)?)?,
            false => None,
        };
        Ok((dx, dw, db))
    }
}

/// The product of two matrices of any strides.
struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "matrix-product"
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (matrix(a, al)?, matrix(b, bl)?);
        let shape = Shape::from((a.rows(), b.cols()));
        Ok((CpuStorage::F32(gemm(a, b, Epilogue::Identity)?), shape))
    }
}

/// g where y > 0, else 0.
struct WherePositive;

impl CustomOp2 for WherePositive {
    fn name(&self) -> &'static str {
        "where-positive"
    }

    fn cpu_fwd(&self, g: &CpuStorage, gl: &Layout, y: &CpuStorage, yl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gs, ys) = (contiguous_f32(g, gl, "where-positive")?, contiguous_f32(y, yl, "where-positive")?);
        let mut out = vec![0f32; gs.len()];
        let mask = |out: &mut [f32], gs: &[f32], ys: &[f32]| {
            for ((out, &g), &y) in out.iter_mut().zip(gs).zip(ys) {
                *out = if y > 0. { g } else { 0. };
            }
        };
        if out.len() <= TASK {
            mask(&mut out, gs, ys);
        } else {
            let parts = out.par_chunks_mut(TASK).zip(gs.par_chunks(TASK)).zip(ys.par_chunks(TASK));
            parts.for_each(|((out, gs), ys)| mask(out, gs, ys));
        }
        Ok((CpuStorage::F32(out), gl.shape().clone()))
    }
}

/// The sum of each column, its rows taken in order.
struct ColumnSums;

impl CustomOp1 for ColumnSums {
    fn name(&self) -> &'static str {
        "column-sums"
    }

    fn cpu_fwd(&self, g: &CpuStorage, gl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, cols) = gl.shape().dims2()?;
        let gs = contiguous_f32(g, gl, "column-sums")?;
        let mut sums = vec![0f32; cols];
        for row in gs.chunks_exact(cols.max(1)) {
            for (sum, g) in sums.iter_mut().zip(row) {
                *sum += g;
            }
        }
        Ok((CpuStorage::F32(sums), Shape::from(cols)))
    }
}
