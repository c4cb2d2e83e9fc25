//! Products of the small matrices of one head: some ten to hundred rows and columns that lie in the
//! first two caches.
//!
//! The product of `crate::gemm` packs both operands and shares the work among threads; here a head
//! is one task's, and rows of the right operand are read where they lie. Only where a product runs
//! along the rows of both operands is one of them transposed first.

use crate::vector::{Kernel, Vector};

/// Most rows of a tile: enough sums that do not wait for one another, on every instruction set.
const MAX_ROWS: usize = 8;

/// C[m, n] = A[m, k] · B[k, n]; the columns of B and C lie one after another.
#[derive(Clone, Copy)]
pub(super) struct AttentionProduct {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const f32,
    /// From one row of A to the next, and from one k to the next.
    pub a_strides: (usize, usize),
    pub b: *const f32,
    pub b_row: usize,
    pub c: *mut f32,
    pub c_row: usize,
}

impl Kernel for AttentionProduct {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let tiles = self.m.div_ceil(V::ROWS.min(MAX_ROWS));
        for col in (0..self.n).step_by(2 * V::LANES) {
            let width = (self.n - col).min(2 * V::LANES);
            for t in 0..tiles {
                // Rows are cut evenly: 9 are tiles of 4 and 5.
                let (row, end) = (t * self.m / tiles, (t + 1) * self.m / tiles);
                // SAFETY: the tile lies inside C.
                unsafe {
                    if width <= V::LANES {
                        self.rows::<V, 1>(row, end - row, col, width)
                    } else {
                        self.rows::<V, 2>(row, end - row, col, width)
                    }
                }
            }
        }
    }
}

impl AttentionProduct {
    #[inline(always)]
    unsafe fn rows<V: Vector, const NV: usize>(
        &self,
        row: usize,
        rows: usize,
        col: usize,
        width: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                1 => self.tile::<V, 1, NV>(row, col, width),
                2 => self.tile::<V, 2, NV>(row, col, width),
                3 => self.tile::<V, 3, NV>(row, col, width),
                4 => self.tile::<V, 4, NV>(row, col, width),
                5 => self.tile::<V, 5, NV>(row, col, width),
                6 => self.tile::<V, 6, NV>(row, col, width),
                7 => self.tile::<V, 7, NV>(row, col, width),
                8 => self.tile::<V, 8, NV>(row, col, width),
                rows => unreachable!("a tile of {rows} rows: there are 1 to {MAX_ROWS}"),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Vector, const MR: usize, const NV: usize>(
        &self,
        row: usize,
        col: usize,
        width: usize,
    ) {
        let last = width - (NV - 1) * V::LANES;
        let mask = V::FULL >> (V::LANES - last);
        // SAFETY: rows, k and the unmasked columns lie inside the operands.
        unsafe {
            let mut sums = [[V::splat(0.0); NV]; MR];
            let (mut a, mut b) =
                (self.a.wrapping_add(row * self.a_strides.0), self.b.wrapping_add(col));
            for _ in 0..self.k {
                let mut cols = [V::splat(0.0); NV];
                for (v, x) in cols.iter_mut().enumerate() {
                    let from = b.wrapping_add(v * V::LANES);
                    *x = if v + 1 == NV && mask != V::FULL {
                        V::load_lanes(from, 1, mask)
                    } else {
                        V::load(from)
                    };
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*a.wrapping_add(i * self.a_strides.0));
                    for (sum, col) in sums.iter_mut().zip(cols) {
                        *sum = x.mul_add(col, *sum);
                    }
                }
                a = a.wrapping_add(self.a_strides.1);
                b = b.wrapping_add(self.b_row);
            }
            for (i, sums) in sums.iter().enumerate() {
                let to = self.c.wrapping_add((row + i) * self.c_row + col);
                for (v, sum) in sums.iter().enumerate() {
                    let to = to.wrapping_add(v * V::LANES);
                    if v + 1 == NV && mask != V::FULL {
                        sum.store_lanes(to, mask)
                    } else {
                        sum.store(to)
                    }
                }
            }
        }
    }
}

/// to[j, i] = from[i, j] for `rows` x `cols` values.
#[derive(Clone, Copy)]
pub(super) struct Transposed {
    pub rows: usize,
    pub cols: usize,
    pub from: *const f32,
    pub from_row: usize,
    pub to: *mut f32,
    pub to_row: usize,
}

impl Kernel for Transposed {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let whole = (self.rows - self.rows % V::LANES, self.cols - self.cols % V::LANES);
        for i in (0..whole.0).step_by(V::LANES) {
            for j in (0..whole.1).step_by(V::LANES) {
                let (from, to) = (
                    self.from.wrapping_add(i * self.from_row + j),
                    self.to.wrapping_add(j * self.to_row + i),
                );
                // SAFETY: the square lies inside both.
                unsafe { V::transpose(from, self.from_row, to, self.to_row) };
            }
        }
        for i in 0..self.rows {
            for j in (if i < whole.0 { whole.1 } else { 0 })..self.cols {
                // SAFETY: i and j are below the numbers of rows and columns.
                unsafe {
                    *self.to.add(j * self.to_row + i) = *self.from.add(i * self.from_row + j)
                };
            }
        }
    }
}

/// One query of several heads against its keys: to[h, j] = q_h · k_jh.
#[derive(Clone, Copy)]
pub(super) struct Scores {
    pub heads: usize,
    pub head: usize,
    pub keys: usize,
    pub q: *const f32,
    pub k: *const f32,
    pub k_row: usize,
    pub to: *mut f32,
    pub to_row: usize,
}

impl Kernel for Scores {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // Widest register of all sets.
        let mut lanes = [0f32; 16];
        let rest = self.head % V::LANES;
        let mask = (1u32 << rest) - 1;
        for j in 0..self.keys {
            for h in 0..self.heads {
                let (q, k) = (
                    self.q.wrapping_add(h * self.head),
                    self.k.wrapping_add(j * self.k_row + h * self.head),
                );
                // SAFETY: the head's columns lie inside q and row j of k; to has a place for each
                // key of each head.
                unsafe {
                    let mut sum = V::splat(0.0);
                    for c in (0..self.head - rest).step_by(V::LANES) {
                        sum = V::load(q.wrapping_add(c)).mul_add(V::load(k.wrapping_add(c)), sum);
                    }
                    if rest > 0 {
                        let c = self.head - rest;
                        sum = V::load_lanes(q.wrapping_add(c), 1, mask)
                            .mul_add(V::load_lanes(k.wrapping_add(c), 1, mask), sum);
                    }
                    sum.store(lanes.as_mut_ptr());
                    let mut half = V::LANES / 2;
                    while half > 0 {
                        for l in 0..half {
                            lanes[l] += lanes[l + half];
                        }
                        half /= 2;
                    }
                    *self.to.add(h * self.to_row + j) = lanes[0];
                }
            }
        }
    }
}
