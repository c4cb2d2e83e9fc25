//! The dense layer on the CPU: one product with a fused epilogue forward; backward two products,
//! and one pass that applies the activation's mask to the gradient where it lies and sums the bias
//! gradient.

use crate::dropout::cpu::{DropoutMask, drop_out_in_place};
use crate::gemm::{Epilogue, MatRef, gemm};
use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::operand::TASK;
use crate::{Activation, Precision};
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// Applies the kernel. Shapes are checked; all tensors are `f32` on the CPU. Dropout comes with
/// ReLU only.
pub(super) fn linear(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    act: Activation,
    dropout: Option<DropoutMask>,
) -> Result<Tensor> {
    // A view whose batch dimensions do not lie at one stride has no row stride, so it is copied,
    // once.
    let copy = if rows_of(x.layout()).is_none() { Some(x.contiguous()?) } else { None };
    let x = copy.as_ref().unwrap_or(x);
    // A bias may be a strided view too, but it is short.
    let b = b.map(Tensor::contiguous).transpose()?;
    let precision = Precision::current();
    let mut y = {
        let bias = b.as_ref().map(values).transpose()?;
        let epilogue = match (act, bias.as_deref()) {
            (Activation::None, Some(bias)) => Epilogue::Bias(bias),
            (Activation::Relu, Some(bias)) => Epilogue::BiasRelu(bias),
            (Activation::None, None) => Epilogue::Identity,
            (Activation::Relu, None) => Epilogue::Relu,
        };
        let ((xs, xl), (ws, wl)) = (x.storage_and_layout(), w.storage_and_layout());
        gemm(matrix_of(&xs, xl)?, matrix_of(&ws, wl)?.t(), epilogue, precision)?
    };
    if let Some(dropout) = &dropout {
        y.par_chunks_mut(TASK)
            .enumerate()
            .for_each(|(task, y)| drop_out_in_place(dropout, (task * TASK) as u64, y));
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = w.dim(0)?;
    }
    let mut inputs = vec![x, w];
    inputs.extend(&b);
    let scale = dropout.map(|dropout| dropout.scale());
    let op = || {
        Ok(Linear { x: x.detach(), w: w.detach(), relu: act == Activation::Relu, scale, precision })
    };
    record(&inputs, y, dims, act == Activation::Relu, op)
}

struct Linear {
    x: Tensor,
    w: Tensor,
    relu: bool,
    /// What dropout multiplies by, where it keeps.
    scale: Option<f32>,
    precision: Precision,
}

impl Backward for Linear {
    /// With G = grad ⊙ act'(y): dx = G · w, dw = Gᵀ · x, db = sum of G's rows.
    fn backward(
        &self,
        y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let (Linear { x, w, .. }, out) = (self, self.w.dim(0)?);
        let mut grad = sum(grad)?;
        let db_wanted = wanted.get(2) == Some(&true);
        let sums = match y.filter(|_| self.relu) {
            Some(y) => {
                let mut g = grad.into_vec()?;
                let sums = mask_and_sum(&mut g, &values(y)?, out, self.scale, db_wanted);
                grad = Grad::Owned(g);
                sums
            }
            None if db_wanted => summed(&grad.values()?, out),
            None => Vec::new(),
        };
        let g = grad.values()?;
        let g = MatRef::row_major(&g, g.len() / out.max(1), out)?;
        let dx = if wanted[0] {
            let (ws, wl) = w.storage_and_layout();
            Some(Grad::Owned(gemm(g, matrix_of(&ws, wl)?, Epilogue::Identity, self.precision)?))
        } else {
            None
        };
        let dw = if wanted[1] {
            let (xs, xl) = x.storage_and_layout();
            Some(Grad::Owned(gemm(g.t(), matrix_of(&xs, xl)?, Epilogue::Identity, self.precision)?))
        } else {
            None
        };
        Ok(vec![dx, dw, db_wanted.then_some(Grad::Owned(sums))])
    }

    // A layer's graph could always be walked again, and callers do; its input is kept by the
    // tensors around it in any case.
    fn stays(&self) -> bool {
        true
    }
}

/// Rows that one task masks and sums. Sums of sums keep the rounding error of a long batch small;
/// the cut is fixed, so the result does not depend on the number of threads.
const ROWS_PER_TASK: usize = 16;

/// Clears `g`, rows of `out` values, where `y` is 0 or less, and grows the rest by `scale`; returns
/// the sums of its columns, if wanted.
fn mask_and_sum(g: &mut [f32], y: &[f32], out: usize, scale: Option<f32>, sums: bool) -> Vec<f32> {
    let block = ROWS_PER_TASK * out.max(1);
    let parts = g.par_chunks_mut(block).zip(y.par_chunks(block)).map(|(g, y)| {
        mask(g, y);
        if let Some(scale) = scale {
            multiply(g, scale);
        }
        if sums { sum_rows(g, out) } else { Vec::new() }
    });
    in_order(parts.collect(), out)
}

/// The sums of the columns of `g`, rows of `out` values.
fn summed(g: &[f32], out: usize) -> Vec<f32> {
    in_order(g.par_chunks(ROWS_PER_TASK * out.max(1)).map(|g| sum_rows(g, out)).collect(), out)
}

multiversioned! {
    fn mask(g: &mut [f32], y: &[f32]) {
        for (g, &y) in g.iter_mut().zip(y) {
            // Written so that NaN in y lets the gradient pass, as in PyTorch.
            *g = if y <= 0.0 { 0.0 } else { *g };
        }
    }
}

multiversioned! {
    fn multiply(g: &mut [f32], scale: f32) {
        for g in g {
            *g *= scale;
        }
    }
}

multiversioned! {
    fn sum_rows(rows: &[f32], out: usize) -> Vec<f32> {
        let mut sums = vec![0f32; out];
        for row in rows.chunks_exact(out.max(1)) {
            sums.iter_mut().zip(row).for_each(|(s, x)| *s += x);
        }
        sums
    }
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
        bail!(
            "linear: a view of shape {:?} and strides {:?} has no row stride",
            layout.dims(),
            layout.stride()
        )
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

fn cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => bail!("linear: the kernel was given a tensor that is not on the CPU"),
    }
}
