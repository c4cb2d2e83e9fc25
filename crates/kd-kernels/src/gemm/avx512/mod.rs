//! The product for processors with AVX-512: how the work is cut, packed and shared.
//!
//! C is cut into tiles of up to 14 rows by 32 columns. Rows are cut evenly (100 rows are eight
//! tiles of 12 or 13, not seven of 14 and one of 2). Both operands are packed, because the tile
//! then reads two streams of consecutive lines whatever the strides are. Two orders of work:
//!
//! * The rows fit in the second-level cache and are not the larger operand (a training batch): A is
//!   packed once, and each task packs 32 columns of B, uses them for all rows and forgets them.
//!   Weights are so read from memory once, and never written in packed form. Where columns are
//!   contiguous (G·W), the first tile packs them as it goes.
//! * Otherwise (evaluation; the gradient of a weight): B is packed once, and each task packs some
//!   rows of A and runs through all of B. For the gradient of a 1200x1200 weight from a batch of
//!   100 this order is 14 % faster than the other one.
//!
//! Which order is taken, and by which thread, does not change a bit of the result: an element is
//! always one chain of fused multiply-adds over k, started from 0.

mod kernel;
mod pack;

use super::buffer::{Workspace, with_lines};
use super::{Epilogue, MatRef};
use kernel::{COLS, LANES, MAX_ROWS, Operands, Prefetch, TileEpilogue, UNROLL};
use pack::Strip;
use rayon::prelude::*;
use std::cell::Cell;

/// Packed rows of A that a task works on, in bytes: what leaves room for a panel of B in a
/// second-level cache of 2 MiB.
const A_BLOCK: usize = 1 << 20;
/// Longest sum done in one go; longer ones go through C, so that a panel of B stays in the
/// second-level cache.
const MAX_K: usize = 4096;
/// Multiply-adds below which waking another thread costs more than it brings.
const SERIAL: usize = 300_000;
/// Lines of packed A from which several threads share the packing.
const PACK_SHARED: usize = 16 * 1024;

thread_local! {
    static WORKSPACE_A: Workspace = const { Cell::new(Vec::new()) };
    static WORKSPACE_B: Workspace = const { Cell::new(Vec::new()) };
}

/// # Safety
/// The processor has `Level::Avx512`, and as [`super::dispatch`]; M and N are not 0.
pub(super) unsafe fn gemm(a: MatRef, b: MatRef, epilogue: Epilogue, accumulate: bool, c: *mut f32) {
    let k = a.cols;
    let mut from = 0;
    loop {
        let len = (k - from).min(MAX_K);
        let last = from + len == k;
        let bias = if last {
            epilogue.bias().map_or(std::ptr::null(), <[f32]>::as_ptr)
        } else {
            std::ptr::null()
        };
        let product = Avx512Product {
            m: a.rows,
            n: b.cols,
            k: len,
            a: a.data.as_ptr().wrapping_add(from * a.col_stride),
            a_strides: (a.row_stride, a.col_stride),
            b: b.data.as_ptr().wrapping_add(from * b.row_stride),
            b_strides: (b.row_stride, b.col_stride),
            c,
            finish: TileEpilogue {
                accumulate: accumulate || from > 0,
                bias,
                relu: last && epilogue.relu(),
            },
        };
        // SAFETY: the caller's promise.
        unsafe { product.run() };
        from += len;
        if last {
            return;
        }
    }
}

/// One product of at most [`MAX_K`] terms per element.
#[derive(Clone, Copy)]
struct Avx512Product {
    m: usize,
    n: usize,
    k: usize,
    a: *const f32,
    a_strides: (usize, usize),
    b: *const f32,
    b_strides: (usize, usize),
    c: *mut f32,
    finish: TileEpilogue,
}

// SAFETY: tasks read A and B and write to disjoint tiles of C.
unsafe impl Send for Avx512Product {}
// SAFETY: as above.
unsafe impl Sync for Avx512Product {}

/// Scratch memory that tasks share.
#[derive(Clone, Copy)]
struct Scratch(*mut f32);

// SAFETY: while it is written, each task writes to its own part; afterwards it is only read.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

impl Scratch {
    fn at(&self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// Columns of B as a tile reads them, `step` elements apart per k, and where it leaves a packed
/// copy, or null.
#[derive(Clone, Copy)]
struct Panel {
    from: *const f32,
    step: usize,
    copy: *mut f32,
}

impl Panel {
    fn in_place(from: *const f32, step: usize) -> Self {
        Self { from, step, copy: std::ptr::null_mut() }
    }
}

impl Avx512Product {
    /// # Safety
    /// The processor has AVX-512F, and the pointers are valid for the sizes and strides.
    unsafe fn run(self) {
        let tiles = self.m.div_ceil(MAX_ROWS);
        let panels = self.n.div_ceil(COLS);
        let threads =
            if self.m * self.n * self.k < SERIAL { 1 } else { rayon::current_num_threads() };
        let fits = A_BLOCK / (self.k * LANES * size_of::<f32>()).max(1);
        // SAFETY: the caller's promise.
        unsafe {
            // B is small beside A and stays in the second-level cache: a task per tile writes C's
            // rows from left to right.
            if panels * COLS < tiles * LANES
                && panels * COLS <= fits * LANES
                && tiles >= 2 * threads
            {
                self.share_b(tiles, panels, tiles, threads)
            } else if tiles <= fits && (threads == 1 || panels >= 2 * threads) {
                self.share_a(tiles, panels, threads)
            } else {
                let block = tiles.div_ceil(2 * threads).min(fits).max(1);
                self.share_b(tiles, panels, tiles.div_ceil(block), threads)
            }
        }
    }

    /// Packs A once; each task packs one panel of B.
    unsafe fn share_a(self, tiles: usize, panels: usize, threads: usize) {
        with_lines(&WORKSPACE_A, tiles * self.k, |a| {
            let a = Scratch(a);
            let packers = if tiles * self.k < PACK_SHARED { 1 } else { threads };
            // SAFETY: each tile has its own part of the buffer.
            for_each(tiles, packers, |t| unsafe {
                self.pack_a(t, tiles, a.at(t * self.k * LANES))
            });
            for_each(panels, threads, |p| {
                let registers = self.registers(p);
                let whole = self.n - p * COLS >= COLS;
                if tiles == 1 && self.b_strides.1 == 1 && whole {
                    // Each value of B is used once: packing it would only copy it.
                    let b = self.b.wrapping_add(p * COLS);
                    // SAFETY: the panel's 32 columns exist.
                    unsafe {
                        self.tile_at(0, 1, p, a.at(0), Panel::in_place(b, self.b_strides.0), None)
                    };
                    return;
                }
                with_lines(&WORKSPACE_B, self.k * registers, |b| {
                    let packed = Panel::in_place(b, registers * LANES);
                    let as_it_is = Panel {
                        from: self.b.wrapping_add(p * COLS),
                        step: self.b_strides.0,
                        copy: b,
                    };
                    let fused = self.b_strides.1 == 1 && whole;
                    if !fused {
                        // SAFETY: the buffer holds the panel.
                        unsafe { self.pack_b(p, b) };
                    }
                    for t in 0..tiles {
                        let panel = if fused && t == 0 { as_it_is } else { packed };
                        let at = a.at(t * self.k * LANES);
                        let ahead = if p + 1 < panels { Some(t * (self.k / UNROLL)) } else { None };
                        // SAFETY: tile t and panel p are packed.
                        unsafe { self.tile_at(t, tiles, p, at, panel, ahead) };
                    }
                });
            });
        });
    }

    /// Packs B once; each task packs one block of A.
    unsafe fn share_b(self, tiles: usize, panels: usize, blocks: usize, threads: usize) {
        let panel_len = self.k * COLS;
        with_lines(&WORKSPACE_B, panels * panel_len / LANES, |b| {
            let b = Scratch(b);
            // SAFETY: each panel has its own part of the buffer.
            for_each(panels, threads, |p| unsafe { self.pack_b(p, b.at(p * panel_len)) });
            for_each(blocks, threads, |block| {
                let (first, end) = (block * tiles / blocks, (block + 1) * tiles / blocks);
                with_lines(&WORKSPACE_A, (end - first) * self.k, |a| {
                    let a = Scratch(a);
                    for t in first..end {
                        // SAFETY: each tile has its own part of the buffer.
                        unsafe { self.pack_a(t, tiles, a.at((t - first) * self.k * LANES)) };
                    }
                    for p in 0..panels {
                        let panel = Panel::in_place(b.at(p * panel_len), self.registers(p) * LANES);
                        for t in first..end {
                            let at = a.at((t - first) * self.k * LANES);
                            // SAFETY: tile t and panel p are packed.
                            unsafe { self.tile_at(t, tiles, p, at, panel, None) };
                        }
                    }
                });
            });
        });
    }

    /// Registers that panel `p` needs.
    fn registers(&self, p: usize) -> usize {
        (self.n - p * COLS).min(COLS).div_ceil(LANES)
    }

    unsafe fn pack_a(&self, t: usize, tiles: usize, to: *mut f32) {
        let (first, end) = (t * self.m / tiles, (t + 1) * self.m / tiles);
        let strip = Strip {
            from: self.a.wrapping_add(first * self.a_strides.0),
            lane_stride: self.a_strides.0,
            k_stride: self.a_strides.1,
            lanes: end - first,
            k: self.k,
        };
        // SAFETY: the strip is inside A, and the caller gives a buffer of k groups.
        unsafe { pack::pack(strip, to) }
    }

    unsafe fn pack_b(&self, p: usize, to: *mut f32) {
        let col = p * COLS;
        let strip = Strip {
            from: self.b.wrapping_add(col * self.b_strides.1),
            lane_stride: self.b_strides.1,
            k_stride: self.b_strides.0,
            lanes: (self.n - col).min(COLS),
            k: self.k,
        };
        // SAFETY: the strip is inside B, and the caller gives a buffer of k groups of the panel's
        // registers.
        unsafe { pack::pack(strip, to) }
    }

    /// Computes tile `t` of panel `p` and prefetches a part of the next panel from row or chunk
    /// `ahead` on.
    unsafe fn tile_at(
        &self,
        t: usize,
        tiles: usize,
        p: usize,
        a: *const f32,
        panel: Panel,
        ahead: Option<usize>,
    ) {
        let (first, end) = (t * self.m / tiles, (t + 1) * self.m / tiles);
        let col = p * COLS;
        let registers = self.registers(p);
        let lanes = (self.n - col).min(registers * LANES) - (registers - 1) * LANES;
        let bias = if self.finish.bias.is_null() {
            self.finish.bias
        } else {
            self.finish.bias.wrapping_add(col)
        };
        let ops = Operands {
            k: self.k,
            a,
            b: panel.from,
            b_step: panel.step,
            copy: panel.copy,
            c: self.c.wrapping_add(first * self.n + col),
            ldc: self.n,
            mask: if lanes == LANES { !0 } else { (1 << lanes) - 1 },
        };
        let next = self.b.wrapping_add((col + COLS) * self.b_strides.1);
        let prefetch = match ahead {
            // Panels of contiguous columns lie row by row; panels of contiguous k are one stretch
            // of memory, nearly.
            Some(row) if row < self.k && self.b_strides.1 == 1 => {
                Prefetch { from: next.wrapping_add(row * self.b_strides.0), step: self.b_strides.0 }
            }
            Some(row) if row < self.k && self.b_strides.0 == 1 => {
                Prefetch { from: next.wrapping_add(row * COLS), step: COLS }
            }
            _ => Prefetch { from: a, step: 0 },
        };
        // SAFETY: the processor has AVX-512F, the packed operands are complete, and the tile lies
        // inside C.
        unsafe {
            kernel::tile(
                end - first,
                registers,
                ops,
                TileEpilogue { bias, ..self.finish },
                prefetch,
            )
        }
    }
}

/// Calls `task` for 0..count, shared among the threads if there is more than one.
fn for_each(count: usize, threads: usize, task: impl Fn(usize) + Sync + Send) {
    if threads == 1 || count <= 1 {
        (0..count).for_each(task)
    } else {
        (0..count).into_par_iter().for_each(task)
    }
}
