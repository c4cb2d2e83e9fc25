//! The dense layer on the CPU: one product with a fused epilogue forward; backward two products, and one pass that applies the
//! activation's mask and sums the bias gradient.

use super::Activation;
use crate::backward::deposit;
use crate::gemm::{Epilogue, MatRef, gemm};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

/// Applies the kernel. Shapes are checked; all tensors are `f32` on the CPU.
pub(super) fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    // A view whose batch dimensions do not lie at one stride has no row stride, so it is copied, once.
    let copy = if rows_of(x.layout()).is_none() { Some(x.contiguous()?) } else { None };
    let x = copy.as_ref().unwrap_or(x);
    let op = Linear(act);
    match b {
        Some(b) => x.apply_op3(w, b, op),
        None => x.apply_op2(w, op),
    }
}

struct Linear(Activation);

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
        let data = floats(b, bl)?;
        // A bias may be a strided view too, but it is short.
        let strided: Vec<f32>;
        let bias = if bl.is_contiguous() {
            &data[..bl.shape().elem_count()]
        } else {
            strided = (0..bl.shape().elem_count()).map(|i| data[i * bl.stride()[0]]).collect();
            &strided
        };
        let epilogue = match self.0 {
            Activation::None => Epilogue::Bias(bias),
            Activation::Relu => Epilogue::BiasRelu(bias),
        };
        forward((x, xl), (w, wl), epilogue)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, db) = backward(self.0, x, w, Some(b), y, grad)?;
        Ok((dx, dw, db))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let epilogue = match self.0 {
            Activation::None => Epilogue::Identity,
            Activation::Relu => Epilogue::Relu,
        };
        forward((x, xl), (w, wl), epilogue)
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, _) = backward(self.0, x, w, None, y, grad)?;
        Ok((dx, dw))
    }
}

fn forward(x: (&CpuStorage, &Layout), w: (&CpuStorage, &Layout), epilogue: Epilogue) -> Result<(CpuStorage, Shape)> {
    let mut dims = x.1.dims().to_vec();
    let out = w.1.dims()[0];
    dims.pop();
    dims.push(out);
    let y = gemm(matrix(x.0, x.1)?, matrix(w.0, w.1)?.t(), epilogue)?;
    Ok((CpuStorage::F32(y), Shape::from(dims)))
}

type Three = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

/// With G = grad ⊙ act'(y): dx = G · w, dw = Gᵀ · x, db = sum of G's rows. Arguments that track no gradient get none.
fn backward(act: Activation, x: &Tensor, w: &Tensor, b: Option<&Tensor>, y: &Tensor, grad: &Tensor) -> Result<Three> {
    let out = w.dim(0)?;
    let rows = y.elem_count() / out.max(1);
    let grad = grad.contiguous()?;
    let db_wanted = b.is_some_and(|b| b.track_op());
    let (gs, gl) = grad.storage_and_layout();
    let g = &floats_of(&gs, gl)?[..rows * out];
    let (masked, sums) = match act {
        Activation::Relu => {
            let (ys, yl) = y.storage_and_layout();
            let (masked, sums) = masked_and_summed(g, &floats_of(&ys, yl)?[..rows * out], out);
            (Some(masked), sums)
        }
        Activation::None if db_wanted => (None, summed(g, out)),
        Activation::None => (None, Vec::new()),
    };
    let g = MatRef::row_major(masked.as_deref().unwrap_or(g), rows, out)?;
    let dx = if x.track_op() {
        let (ws, wl) = w.storage_and_layout();
        let dx = gemm(g, matrix_of(&ws, wl)?, Epilogue::Identity)?;
        deposit(x, Tensor::from_vec(dx, x.shape(), x.device())?)?
    } else {
        None
    };
    let dw = if w.track_op() {
        let (xs, xl) = x.storage_and_layout();
        let dw = gemm(g.t(), matrix_of(&xs, xl)?, Epilogue::Identity)?;
        deposit(w, Tensor::from_vec(dw, w.shape(), w.device())?)?
    } else {
        None
    };
    let db = match b {
        Some(b) if db_wanted => deposit(b, Tensor::from_vec(sums, b.shape(), b.device())?)?,
        _ => None,
    };
    Ok((dx, dw, db))
}

/// Rows that one task masks and sums. Sums of sums keep the rounding error of a long batch small; the cut is fixed, so the
/// result does not depend on the number of threads.
const ROWS_PER_TASK: usize = 16;

/// `g`, rows of `out` values, where `y` is not 0 or less; and the sums of its columns.
fn masked_and_summed(g: &[f32], y: &[f32], out: usize) -> (Vec<f32>, Vec<f32>) {
    let mut masked = vec![0f32; g.len()];
    let block = ROWS_PER_TASK * out.max(1);
    let parts = masked.par_chunks_mut(block).zip(g.par_chunks(block).zip(y.par_chunks(block))).map(|(masked, (g, y))| {
        for ((m, &g), &y) in masked.iter_mut().zip(g).zip(y) {
            // Written so that NaN in y lets the gradient pass, as in PyTorch.
            *m = if y <= 0.0 { 0.0 } else { g };
        }
        sum_rows(masked, out)
    });
    let sums = in_order(parts.collect(), out);
    (masked, sums)
}

/// The sums of the columns of `g`, rows of `out` values.
fn summed(g: &[f32], out: usize) -> Vec<f32> {
    in_order(g.par_chunks(ROWS_PER_TASK * out.max(1)).map(|g| sum_rows(g, out)).collect(), out)
}

fn sum_rows(rows: &[f32], out: usize) -> Vec<f32> {
    let mut sums = vec![0f32; out];
    for row in rows.chunks_exact(out.max(1)) {
        sums.iter_mut().zip(row).for_each(|(s, x)| *s += x);
    }
    sums
}

fn in_order(parts: Vec<Vec<f32>>, out: usize) -> Vec<f32> {
    let mut sums = vec![0f32; out];
    for part in parts {
        sums.iter_mut().zip(&part).for_each(|(s, x)| *s += x);
    }
    sums
}

/// The rows and the row stride of a layout `[.., n]`, if its leading dimensions lie at one stride.
fn rows_of(layout: &Layout) -> Option<(usize, usize)> {
    let (dims, strides) = (layout.dims(), layout.stride());
    let lead = dims.len().checked_sub(1)?;
    let rows = dims[..lead].iter().product();
    // From the innermost out: each dimension of more than one element continues the one inside it.
    let mut row: Option<(usize, usize)> = None;
    for (&n, &stride) in dims[..lead].iter().zip(&strides[..lead]).rev().filter(|(n, _)| **n != 1) {
        row = match row {
            None => Some((n, stride)),
            Some((count, inner)) if stride == count * inner => Some((count * n, inner)),
            Some(_) => return None,
        };
    }
    Some((rows, row.map_or(0, |(_, stride)| stride)))
}

/// The layout `[.., n]` as a matrix of rows by n.
fn matrix<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<MatRef<'a>> {
    let Some((rows, stride)) = rows_of(layout) else {
        bail!("linear: a view of shape {:?} and strides {:?} has no row stride", layout.dims(), layout.stride())
    };
    let last = layout.dims().len() - 1;
    MatRef::new(floats(storage, layout)?, rows, layout.dims()[last], stride, layout.stride()[last])
}

fn matrix_of<'a>(storage: &'a Storage, layout: &Layout) -> Result<MatRef<'a>> {
    matrix(cpu(storage)?, layout)
}

/// The elements of a view and what lies behind them.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    Ok(&storage.as_slice::<f32>()?[layout.start_offset()..])
}

fn floats_of<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    floats(cpu(storage)?, layout)
}

fn cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => bail!("linear: the kernel was given a tensor that is not on the CPU"),
    }
}
