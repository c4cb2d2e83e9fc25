//! Weights times the pixels under the kernel, for one block of images.

use super::panel::{PanelRow, Weights, pack, scatter, tile, with_rows};
use crate::conv2d::places::Places;
use crate::gemm::buffer::{Workspace, with_lines};
use crate::vector::{Isa, Kernel, Vector};
use std::cell::Cell;

/// Bytes of a panel: a quarter of a second-level cache of 2 MiB, so that weights and images have
/// room beside it.
const PANEL_BYTES: usize = 512 * 1024;

thread_local! {
    static WORKSPACE: Workspace = const { Cell::new(Vec::new()) };
}

/// What the blocks of a product share.
pub(super) struct ImplicitProduct<'a> {
    pub groups: usize,
    /// Input channels of a group, and the numbers between two of them.
    pub channels: usize,
    pub channel_step: usize,
    /// Output channels lie this far apart.
    pub row_step: usize,
    pub taps: usize,
    pub weights: &'a Weights,
    /// Starting values of the sums, by output channel.
    pub bias: Option<&'a [f32]>,
}

/// One block of images.
struct Block<'a> {
    product: &'a ImplicitProduct<'a>,
    /// The pixels under each tap.
    from: &'a Places,
    /// Where the results go: the same columns under one tap, without a step.
    to: &'a Places,
    x: *const f32,
    y: *mut f32,
    panel: *mut f32,
}

impl Kernel for Block<'_> {
    type Output = ();

    /// # Safety
    /// As [`run`]; `panel` has room for [`pairs`] pairs of registers of all terms.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Block { product: p, from, to, x, y, panel } = self;
        let depth = p.weights.depth;
        let pair = 2 * V::LANES;
        let pairs = pairs(pair, depth, from.vectors);
        for group in 0..p.groups {
            let x = x.wrapping_add(group * p.channels * p.channel_step);
            let mut first = 0;
            while first < from.vectors {
                let registers = first..(first + 2 * pairs).min(from.vectors.next_multiple_of(2));
                // SAFETY: the panel has room for `pairs` pairs of registers of all rows; the rest
                // is the caller's promise.
                unsafe {
                    let panel_row = PanelRow { even: pair * depth, odd: V::LANES };
                    pack::<V>(
                        x,
                        p.channels,
                        p.channel_step,
                        from,
                        p.taps,
                        registers.clone(),
                        panel,
                        pair,
                        panel_row,
                    );
                    for block in 0..p.weights.blocks() {
                        let (rows, w) = p.weights.block(group, block);
                        let row = group * p.weights.rows + rows.start;
                        let init = match p.bias {
                            Some(b) => b[row..][..rows.len()].as_ptr(),
                            None => std::ptr::null(),
                        };
                        let mut register = first;
                        while register < registers.end {
                            let panel = panel.add((register - first) / 2 * pair * depth);
                            let y = y.wrapping_add(row * p.row_step);
                            with_rows!(V, rows.len(), R => {
                                let acc = tile::<V, R>(depth, w.as_ptr(), panel, init);
                                for v in 0..2 {
                                    if register + v < to.vectors {
                                        let parts = to.parts(0, register + v);
                                        for (r, acc) in acc.iter().enumerate() {
                                            scatter(acc[v], y.wrapping_add(r * p.row_step), parts);
                                        }
                                    }
                                }
                            });
                            register += 2;
                        }
                    }
                }
                first = registers.end;
            }
        }
    }
}

/// Pairs of registers of columns in a panel.
fn pairs(pair: usize, depth: usize, vectors: usize) -> usize {
    (PANEL_BYTES / (4 * pair * depth.max(1))).clamp(1, vectors.div_ceil(2).max(1))
}

/// Computes one block of images with scratch memory of this thread.
///
/// # Safety
/// As [`Isa::run`]; `x` and `y` are valid at all their places, and nothing else uses `y`.
pub(super) unsafe fn run(
    isa: Isa,
    product: &ImplicitProduct,
    (from, to): (&Places, &Places),
    x: *const f32,
    y: *mut f32,
) {
    let pair = 2 * isa.lanes();
    let floats = pairs(pair, product.weights.depth, from.vectors) * pair * product.weights.depth;
    with_lines(&WORKSPACE, floats.div_ceil(16), |panel| {
        // SAFETY: the panel has the size that the block expects; the rest is the caller's promise.
        unsafe { isa.run(Block { product, from, to, x, y, panel }) }
    })
}

/// Puts the two column phases of a map together: registers of even and of odd columns become
/// registers of whole rows.
pub(super) struct Interleave<'a> {
    pub channels: usize,
    /// The phases, channels `from_step` apart, in whole registers.
    pub even: *const f32,
    pub odd: *const f32,
    pub from_step: usize,
    /// Where the rows go, channels `to_step` apart.
    pub to: &'a Places,
    pub y: *mut f32,
    pub to_step: usize,
}

impl Kernel for Interleave<'_> {
    type Output = ();

    /// # Safety
    /// The phases are readable for all registers and `y` is writable at its places.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for c in 0..self.channels {
            let y = self.y.wrapping_add(c * self.to_step);
            for v in 0..self.to.vectors.div_ceil(2) {
                // SAFETY: the caller's promise.
                unsafe {
                    let at = c * self.from_step + v * V::LANES;
                    let (low, high) =
                        V::load(self.even.add(at)).interleave(V::load(self.odd.add(at)));
                    scatter(low, y, self.to.parts(0, 2 * v));
                    if 2 * v + 1 < self.to.vectors {
                        scatter(high, y, self.to.parts(0, 2 * v + 1));
                    }
                }
            }
        }
    }
}
