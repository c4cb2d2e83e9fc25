//! The product of bfloat16 operands for processors with AMX: how the work is cut, packed and
//! shared.
//!
//! C is cut into blocks of 32 rows by 32 columns, four tiles of the processor. Both operands are
//! rounded and packed whole, in the order in which the tiles are loaded; then each task takes 32
//! rows of A, which stay in the first-level cache where K is a few hundred, and a run of
//! B's columns, which stream from the second-level one. C is written along its rows: down its
//! columns, every other write was to another page, and the gradient of a 1200x1200 weight from a
//! batch of 100 took 1.4 to 2.3 times as long.
//!
//! Which thread computes a block does not change a bit of it: an element is one chain of additions
//! over pairs of k.

mod pack;
mod tile;

use super::buffer::{Workspace, with_lines};
use super::{Epilogue, MatRef};
use pack::{Order, Strip};
use rayon::prelude::*;
use std::cell::Cell;
use tile::{SIDE, TILE, TileEpilogue, Tiles};

/// Longest sum done in one go; longer ones go through C, so that a block's operands stay in the
/// second-level cache.
const MAX_K: usize = 2048;
/// Packed columns that a task runs through with the same rows, in bytes: what leaves room for the
/// rows in a second-level cache of 1 MiB.
const B_RUN: usize = 512 << 10;
/// Multiply-adds below which waking another thread costs more than it brings.
const SERIAL: usize = 2_000_000;
/// Lines of a buffer that one step of k of one block of 32 lanes takes: two tiles.
const LINES: usize = 2 * TILE / 64;

thread_local! {
    static WORKSPACE_A: Workspace = const { Cell::new(Vec::new()) };
    static WORKSPACE_B: Workspace = const { Cell::new(Vec::new()) };
}

/// # Safety
/// `crate::level::amx` has said yes, and as [`super::dispatch`]; M and N are not 0.
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
        let product = AmxProduct {
            m: a.rows,
            n: b.cols,
            k: len,
            a: Side {
                from: a.data.as_ptr().wrapping_add(from * a.col_stride),
                lane: a.row_stride,
                k: a.col_stride,
            },
            b: Side {
                from: b.data.as_ptr().wrapping_add(from * b.row_stride),
                lane: b.col_stride,
                k: b.row_stride,
            },
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

/// An operand: its lanes are A's rows or B's columns.
#[derive(Clone, Copy)]
struct Side {
    from: *const f32,
    /// Elements from one lane to the next.
    lane: usize,
    /// Elements from one k to the next.
    k: usize,
}

// SAFETY: operands are only read.
unsafe impl Send for Side {}
// SAFETY: as above.
unsafe impl Sync for Side {}

impl Side {
    /// Whether memory is read in its order by going from lane to lane, and not from k to k.
    fn along_lanes(self) -> bool {
        self.lane == 1 && self.k != 1
    }

    /// Into how many tasks its packing is cut: one for each block of lanes, or one for each step of
    /// k where that reads memory in its order.
    fn tasks(self, blocks: usize, steps: usize) -> usize {
        if self.along_lanes() { steps } else { blocks }
    }
}

/// One product of at most [`MAX_K`] terms per element.
#[derive(Clone, Copy)]
struct AmxProduct {
    m: usize,
    n: usize,
    k: usize,
    a: Side,
    b: Side,
    c: *mut f32,
    finish: TileEpilogue,
}

// SAFETY: tasks read A and B and write to disjoint blocks of C.
unsafe impl Send for AmxProduct {}
// SAFETY: as above.
unsafe impl Sync for AmxProduct {}

/// Scratch memory that tasks share.
#[derive(Clone, Copy)]
struct Scratch(*mut f32);

// SAFETY: while it is written, each task writes to its own part; afterwards it is only read.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// The packed lanes of block `block`, of `steps` steps of k.
    fn block(self, block: usize, steps: usize) -> *mut f32 {
        self.0.wrapping_add(block * steps * LINES * 16)
    }
}

impl AmxProduct {
    /// # Safety
    /// The processor has AMX, and the pointers are valid for the sizes and strides.
    unsafe fn run(self) {
        let (rows, columns) = (self.m.div_ceil(SIDE), self.n.div_ceil(SIDE));
        let steps = self.k.div_ceil(pack::DEPTH);
        let threads =
            if self.m * self.n * self.k < SERIAL { 1 } else { rayon::current_num_threads() };
        with_lines(&WORKSPACE_A, rows * steps * LINES, |a| {
            with_lines(&WORKSPACE_B, columns * steps * LINES, |b| {
                let (a, b) = (Scratch(a), Scratch(b));
                let sides =
                    [(self.a, self.m, Order::LaneMajor, a), (self.b, self.n, Order::PairMajor, b)];
                let of_a = sides[0].0.tasks(rows, steps);
                for_each(of_a + sides[1].0.tasks(columns, steps), threads, |task| {
                    let (task, (side, lanes, order, to)) =
                        if task < of_a { (task, sides[0]) } else { (task - of_a, sides[1]) };
                    // SAFETY: each task has its own part of its buffer.
                    unsafe { self.pack(side, lanes, task, order, to) }
                });
                let run = (B_RUN / (steps * LINES * 64).max(1)).clamp(1, columns);
                // Tasks that follow one another share their columns.
                for_each(columns.div_ceil(run) * rows, threads, |task| {
                    let (first, row) = (task / rows * run, task % rows);
                    // SAFETY: the system allows tiles; the operands are packed, and the block lies
                    // inside C.
                    unsafe {
                        let tiles = Tiles::configure();
                        for column in first..columns.min(first + run) {
                            self.block(
                                &tiles,
                                row,
                                column,
                                steps,
                                a.block(row, steps),
                                b.block(column, steps),
                            );
                        }
                    }
                });
            });
        });
    }

    /// Packs what is one task's of an operand of `lanes` lanes.
    unsafe fn pack(&self, side: Side, lanes: usize, task: usize, order: Order, to: Scratch) {
        let (blocks, steps) = (lanes.div_ceil(SIDE), self.k.div_ceil(pack::DEPTH));
        let one = |block: usize, step: usize| {
            let (lane, k) = (block * SIDE, step * pack::DEPTH);
            let from = side.from.wrapping_add(lane * side.lane + k * side.k);
            let lanes = SIDE.min(lanes - lane);
            let strip = Strip {
                from,
                lane_stride: side.lane,
                k_stride: side.k,
                lanes,
                k: pack::DEPTH.min(self.k - k),
            };
            // SAFETY: the caller's promise.
            unsafe {
                pack::pack(
                    strip,
                    order,
                    to.block(block, steps).wrapping_add(step * LINES * 16).cast(),
                )
            }
        };
        if side.along_lanes() {
            (0..blocks).for_each(|block| one(block, task))
        } else {
            (0..steps).for_each(|step| one(task, step))
        }
    }

    unsafe fn block(
        &self,
        tiles: &Tiles,
        row: usize,
        column: usize,
        steps: usize,
        a: *const f32,
        b: *const f32,
    ) {
        let (i, j) = (row * SIDE, column * SIDE);
        let bias = if self.finish.bias.is_null() {
            self.finish.bias
        } else {
            self.finish.bias.wrapping_add(j)
        };
        let out = tile::Out {
            c: self.c.wrapping_add(i * self.n + j),
            ldc: self.n,
            rows: SIDE.min(self.m - i),
            cols: SIDE.min(self.n - j),
        };
        // SAFETY: the caller's promise.
        unsafe { tiles.block(steps, a.cast(), b.cast(), out, TileEpilogue { bias, ..self.finish }) }
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
