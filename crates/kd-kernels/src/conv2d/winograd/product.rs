//! The products, one for each position of a tile: C = A·B, or C += A·B, with as many values of C in
//! registers as there is room for.

use crate::vector::Sixteen;

/// Rows of A that lie together.
pub(super) const PANEL: usize = 8;
/// Bytes of a block of B's columns up to which it is worth keeping in the first-level cache for all
/// rows of A.
const COLUMNS_FIRST: usize = 32 << 10;

/// One product. A is cut into panels of [`PANEL`] rows, which may be padding: A\[i, k\] = a\[(i /
/// 8)·a_panel + (i % 8)·a_row + k·a_step\].
#[derive(Clone, Copy)]
pub(super) struct WinogradProduct {
    /// Panels of rows of A and C.
    pub panels: usize,
    /// Columns of B and C, in vectors of 16.
    pub vectors: usize,
    /// Terms of a sum.
    pub depth: usize,
    pub a: *const f32,
    pub a_panel: usize,
    pub a_row: usize,
    pub a_step: usize,
    pub b: *const f32,
    /// Distance of rows of B, and of C.
    pub b_row: usize,
    pub c: *mut f32,
    pub c_row: usize,
    /// Start from what C holds.
    pub accumulate: bool,
}

/// # Safety
/// As for [`Sixteen`]; the pointers are valid for the sizes.
#[inline(always)]
pub(super) unsafe fn product<V: Sixteen>(p: WinogradProduct) {
    // SAFETY: the caller's promise.
    unsafe {
        if V::BLOCK.1 * 64 * p.depth <= COLUMNS_FIRST {
            let mut j = 0;
            while j < p.vectors {
                let columns = (p.vectors - j).min(V::BLOCK.1);
                for i in 0..p.panels {
                    panel::<V>(&p, i, j, columns);
                }
                j += columns;
            }
        } else {
            for i in 0..p.panels {
                let mut j = 0;
                while j < p.vectors {
                    let columns = (p.vectors - j).min(V::BLOCK.1);
                    panel::<V>(&p, i, j, columns);
                    j += columns;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn panel<V: Sixteen>(p: &WinogradProduct, i: usize, j: usize, columns: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = 0;
        while row < PANEL {
            let a = p.a.add(i * p.a_panel + row * p.a_row);
            let b = p.b.add(j * 16);
            let c = p.c.add((i * PANEL + row) * p.c_row + j * 16);
            match (V::BLOCK.0, columns) {
                (8, 3) => block::<V, 8, 3>(p, a, b, c),
                (8, 2) => block::<V, 8, 2>(p, a, b, c),
                (8, 1) => block::<V, 8, 1>(p, a, b, c),
                (4, 1) => block::<V, 4, 1>(p, a, b, c),
                (2, 1) => block::<V, 2, 1>(p, a, b, c),
                (rows, columns) => unreachable!("there is no block of {rows} rows by {columns}"),
            }
            row += V::BLOCK.0;
        }
    }
}

#[inline(always)]
unsafe fn block<V: Sixteen, const R: usize, const C: usize>(
    p: &WinogradProduct,
    mut a: *const f32,
    mut b: *const f32,
    c: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::zero(); C]; R];
        if p.accumulate {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(c.add(i * p.c_row + j * 16));
                }
            }
        }
        for _ in 0..p.depth {
            let mut columns = [V::zero(); C];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = V::load(b.add(j * 16));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*a.add(i * p.a_row));
                for (sum, column) in sums.iter_mut().zip(&columns) {
                    *sum = x.mul_add(*column, *sum);
                }
            }
            a = a.wrapping_add(p.a_step);
            b = b.wrapping_add(p.b_row);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                sum.store(c.add(i * p.c_row + j * 16));
            }
        }
    }
}
