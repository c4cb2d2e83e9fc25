//! Convolution as a matrix product: each column holds the part of an image under one place of the kernel. Takes every shape; the
//! other algorithms are there because copying costs more than multiplying where channels are few.

use super::shape::Shape;
use crate::gemm::{Epilogue, MatRef, gemm, gemm_into};
use candle_core::Result;
use rayon::prelude::*;

/// Images of one task of the weight gradient: a fixed cut, so that sums do not depend on the number of threads.
const IMAGES_PER_TASK: usize = 8;

/// y, `[n, out, ho, wo]`.
pub(super) fn forward(s: &Shape, x: &[f32], w: &[f32], b: Option<&[f32]>) -> Result<Vec<f32>> {
    let (pixels, groups) = (s.ho * s.wo, s.geometry.groups);
    let (depth, out) = (depth(s), s.cout / groups);
    let mut y = vec![0f32; s.y_len()];
    if y.is_empty() {
        return Ok(y);
    }
    y.par_chunks_mut(s.cout * pixels).zip(0..s.n).try_for_each(|(y, image)| {
        let mut columns = vec![0f32; depth * pixels];
        for (group, y) in y.chunks_mut(out * pixels).enumerate() {
            unfold(s, x, image, group, &mut columns);
            let w = MatRef::row_major(&w[group * out * depth..][..out * depth], out, depth)?;
            gemm_into(w, MatRef::row_major(&columns, depth, pixels)?, Epilogue::Identity, y)?;
            if let Some(b) = b {
                for (row, b) in y.chunks_mut(pixels).zip(&b[group * out..]) {
                    row.iter_mut().for_each(|v| *v += b);
                }
            }
        }
        Ok::<_, candle_core::Error>(())
    })?;
    Ok(y)
}

/// The gradient with respect to x, `[n, in, h, w]`, from g, that of y.
pub(super) fn input_gradient(s: &Shape, g: &[f32], w: &[f32]) -> Result<Vec<f32>> {
    let (pixels, groups) = (s.ho * s.wo, s.geometry.groups);
    let (depth, out) = (depth(s), s.cout / groups);
    let mut dx = vec![0f32; s.x_len()];
    if dx.is_empty() {
        return Ok(dx);
    }
    dx.par_chunks_mut(s.cin * s.h * s.w).zip(0..s.n).try_for_each(|(dx, image)| {
        for group in 0..groups {
            let w = MatRef::row_major(&w[group * out * depth..][..out * depth], out, depth)?;
            let g = MatRef::row_major(&g[(image * s.cout + group * out) * pixels..][..out * pixels], out, pixels)?;
            fold(s, &gemm(w.t(), g, Epilogue::Identity)?, group, dx);
        }
        Ok::<_, candle_core::Error>(())
    })?;
    Ok(dx)
}

/// The gradient with respect to w, `[out, in / groups, kh, kw]`, from g, that of y.
pub(super) fn weight_gradient(s: &Shape, x: &[f32], g: &[f32]) -> Result<Vec<f32>> {
    let (pixels, groups) = (s.ho * s.wo, s.geometry.groups);
    let (depth, out) = (depth(s), s.cout / groups);
    let images: Vec<usize> = (0..s.n).collect();
    let parts = images.par_chunks(IMAGES_PER_TASK).map(|images| {
        let mut sum = vec![0f32; s.w_len()];
        let mut columns = vec![0f32; depth * pixels];
        for &image in images {
            for (group, sum) in sum.chunks_mut(out * depth).enumerate() {
                unfold(s, x, image, group, &mut columns);
                let g = MatRef::row_major(&g[(image * s.cout + group * out) * pixels..][..out * pixels], out, pixels)?;
                let part = gemm(g, MatRef::row_major(&columns, depth, pixels)?.t(), Epilogue::Identity)?;
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
            }
        }
        Ok(sum)
    });
    let mut dw = vec![0f32; s.w_len()];
    for part in parts.collect::<Result<Vec<_>>>()? {
        dw.iter_mut().zip(part).for_each(|(s, p)| *s += p);
    }
    Ok(dw)
}

/// Terms of a sum: input channels of a group times places in the kernel.
fn depth(s: &Shape) -> usize {
    s.cin / s.geometry.groups * s.kh * s.kw
}

/// Calls `f` with each row of the unfolded matrix, an output row, and the input row under it (channel of the image and row), if inside.
fn rows(s: &Shape, group: usize, mut f: impl FnMut(usize, usize, usize, Option<usize>)) {
    let channels = s.cin / s.geometry.groups;
    let mut row = 0;
    for c in group * channels..(group + 1) * channels {
        for k in 0..s.kh {
            for l in 0..s.kw {
                for i in 0..s.ho {
                    let from = (i * s.geometry.stride + k).checked_sub(s.geometry.padding).filter(|&from| from < s.h);
                    f(row, l, i, from.map(|from| c * s.h + from));
                }
                row += 1;
            }
        }
    }
}

/// The output columns whose place under the kernel's column `l` lies inside the image, and the input column of the first.
fn inside(s: &Shape, l: usize) -> (std::ops::Range<usize>, usize) {
    let (stride, padding) = (s.geometry.stride, s.geometry.padding);
    let first = padding.saturating_sub(l).div_ceil(stride).min(s.wo);
    let end = (s.w + padding).saturating_sub(l).div_ceil(stride).clamp(first, s.wo);
    (first..end, (first * stride + l).saturating_sub(padding))
}

/// The unfolded matrix of one group of one image: `[depth, ho·wo]`.
fn unfold(s: &Shape, x: &[f32], image: usize, group: usize, columns: &mut [f32]) {
    let x = &x[image * s.cin * s.h * s.w..][..s.cin * s.h * s.w];
    rows(s, group, |row, l, i, from| {
        let to = &mut columns[(row * s.ho + i) * s.wo..][..s.wo];
        to.fill(0.0);
        let Some(from) = from else { return };
        let (places, first) = inside(s, l);
        let x = &x[from * s.w..][..s.w];
        to[places].iter_mut().zip(x.iter().skip(first).step_by(s.geometry.stride)).for_each(|(t, v)| *t = *v);
    });
}

/// Adds an unfolded gradient to the image it came from: the adjoint of [`unfold`].
fn fold(s: &Shape, columns: &[f32], group: usize, dx: &mut [f32]) {
    rows(s, group, |row, l, i, from| {
        let Some(from) = from else { return };
        let (places, first) = inside(s, l);
        let grad = &columns[(row * s.ho + i) * s.wo..][..s.wo];
        let dx = &mut dx[from * s.w..][..s.w];
        dx.iter_mut().skip(first).step_by(s.geometry.stride).zip(&grad[places]).for_each(|(d, g)| *d += g);
    });
}
