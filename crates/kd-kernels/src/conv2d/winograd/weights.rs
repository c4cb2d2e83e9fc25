//! Kernels of 3×3 to their N×N positions, and the way back of their gradient.

#![allow(clippy::needless_range_loop)] // Indices are the rows and columns of the formulas.

use super::product::PANEL;
use super::tile::{EDGE, Tile};
use super::transform::Planes;
use crate::vector::Sixteen;

/// The kernels of a convolution from `inner` channels to `outer`.
#[derive(Clone, Copy)]
pub(super) struct Kernels<'a> {
    /// As many as `outer` · `inner`.
    w: &'a [f32],
    pub outer: usize,
    pub inner: usize,
    /// Distances of kernels, in values.
    outer_stride: usize,
    inner_stride: usize,
    /// Turned by half a circle, as for the gradient of the input.
    flipped: bool,
}

impl<'a> Kernels<'a> {
    /// The kernels of `[outer, inner, 3, 3]`.
    pub(super) fn new(w: &'a [f32], outer: usize, inner: usize) -> Self {
        assert_eq!(w.len(), outer * inner * 9, "kernels of {outer} by {inner} channels");
        Self { w, outer, inner, outer_stride: inner * 9, inner_stride: 9, flipped: false }
    }

    /// Those of the gradient of the input: channels exchanged, kernels turned.
    pub(super) fn adjoint(self) -> Self {
        Self {
            w: self.w,
            outer: self.inner,
            inner: self.outer,
            outer_stride: self.inner_stride,
            inner_stride: self.outer_stride,
            flipped: !self.flipped,
        }
    }

    /// Panels of [`PANEL`] outer channels.
    pub(super) fn panels(&self) -> usize {
        self.outer.div_ceil(PANEL)
    }

    /// Values of one panel of one position: the panel's channels for each inner one, which are made
    /// even.
    pub(super) fn panel_len(&self) -> usize {
        self.inner.next_multiple_of(2) * PANEL
    }
}

/// U = G w Gᵀ of one panel: `[inner][8 outer]` at each position. Outer channels past the last are
/// 0.
///
/// # Safety
/// As for [`Sixteen`]; the kernels are there, and a row of `to` is a panel.
#[inline(always)]
pub(super) unsafe fn transform<V: Sixteen, F: Tile>(kernels: &Kernels, panel: usize, to: Planes) {
    // SAFETY: the caller's promise.
    unsafe {
        let outers = (kernels.outer - panel * PANEL).min(PANEL);
        for c in (0..kernels.inner).step_by(2) {
            let mut lanes = [[0f32; 16]; 9];
            for pair in 0..(kernels.inner - c).min(2) {
                for o in 0..outers {
                    let (outer, inner) = (
                        (panel * PANEL + o) * kernels.outer_stride,
                        (c + pair) * kernels.inner_stride,
                    );
                    let w = kernels.w.as_ptr().add(outer + inner);
                    for k in 0..9 {
                        lanes[k][pair * PANEL + o] = *w.add(k);
                    }
                }
            }
            let mut down = [[V::zero(); EDGE]; EDGE];
            for j in 0..3 {
                let mut g = [V::zero(); EDGE];
                for (i, g) in g.iter_mut().enumerate().take(3) {
                    let k = 3 * i + j;
                    *g = V::load(lanes[if kernels.flipped { 8 - k } else { k }].as_ptr());
                }
                let e = F::weight(&g);
                for k in 0..F::N {
                    down[k][j] = e[k];
                }
            }
            let mut at = to.at.add(panel * to.row + c * PANEL);
            for row in &down[..F::N] {
                for v in &F::weight(row)[..F::N] {
                    v.store(at);
                    at = at.wrapping_add(to.plane);
                }
            }
        }
    }
}

/// dw = Gᵀ (Σ parts) G of one input channel, for 16 output channels from `first` on: writes `dw[o,
/// channel, :, :]` of `[out, in, 3, 3]`. Parts, `part_len` values apart, are added in order; a row
/// of one is an input channel.
///
/// # Safety
/// As for [`Sixteen`]; the parts are complete, and `dw` is writable for the kernels named.
#[inline(always)]
pub(super) unsafe fn gradient<V: Sixteen, F: Tile>(
    (parts, count, part_len): (Planes, usize, usize),
    (outs, ins): (usize, usize),
    (first, channel): (usize, usize),
    dw: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let from = parts.at.add(channel * parts.row + first);
        let mut down = [[V::zero(); EDGE]; EDGE];
        for j in 0..F::N {
            let mut m = [V::zero(); EDGE];
            for k in 0..F::N {
                let at = from.add((k * F::N + j) * parts.plane);
                m[k] = V::load(at);
                for part in 1..count {
                    m[k] = m[k].add(V::load(at.add(part * part_len)));
                }
            }
            let e = F::weight_gradient(&m);
            for k in 0..3 {
                down[k][j] = e[k];
            }
        }
        for (k, row) in down[..3].iter().enumerate() {
            for (l, v) in F::weight_gradient(row)[..3].iter().enumerate() {
                let mut lanes = [0f32; 16];
                v.store(lanes.as_mut_ptr());
                for (o, lane) in lanes.iter().enumerate().take(outs - first) {
                    *dw.add(((first + o) * ins + channel) * 9 + 3 * k + l) = *lane;
                }
            }
        }
    }
}
