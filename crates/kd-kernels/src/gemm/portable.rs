//! The product through the `gemm` crate, for processors without AVX-512.

use super::{Epilogue, MatRef};
use gemm::Parallelism;
use rayon::prelude::*;

/// Rows or columns of the result per task. Fixed, and not derived from the number of threads, so
/// that every element takes the same path through the crate's kernels whatever the number of
/// threads is.
const CHUNK: usize = 128;

/// # Safety
/// As [`super::dispatch`].
pub(super) unsafe fn gemm(a: MatRef, b: MatRef, epilogue: Epilogue, accumulate: bool, c: *mut f32) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let by_columns = n >= m;
    let out = Out(c);
    let tasks = if by_columns { n } else { m }.div_ceil(CHUNK);
    (0..tasks).into_par_iter().for_each(|task| {
        let from = task * CHUNK;
        let (row, col, rows, cols) = if by_columns {
            (0, from, m, CHUNK.min(n - from))
        } else {
            (from, 0, CHUNK.min(m - from), n)
        };
        // SAFETY: the task's block lies inside C, and no other task writes to it; A and B were
        // checked by `MatRef::new`.
        unsafe {
            block(
                (rows, cols, k),
                a.data.as_ptr().add(if k == 0 { 0 } else { row * a.row_stride }),
                (a.row_stride, a.col_stride),
                b.data.as_ptr().add(if k == 0 { 0 } else { col * b.col_stride }),
                (b.row_stride, b.col_stride),
                (out.at(row * n + col), n),
                accumulate,
            );
            for i in 0..rows {
                let line = std::slice::from_raw_parts_mut(out.at((row + i) * n + col), cols);
                finish(line, epilogue, col);
            }
        }
    });
}

/// A result that several tasks write to, each in its own block.
#[derive(Clone, Copy)]
struct Out(*mut f32);

// SAFETY: tasks write to disjoint blocks.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

impl Out {
    /// # Safety
    /// `offset` lies inside the result.
    unsafe fn at(&self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

/// # Safety
/// The pointers are valid for the sizes and strides given.
unsafe fn block(
    (m, n, k): (usize, usize, usize),
    a: *const f32,
    a_strides: (usize, usize),
    b: *const f32,
    b_strides: (usize, usize),
    (c, ldc): (*mut f32, usize),
    accumulate: bool,
) {
    if k == 0 && accumulate {
        return;
    }
    if k == 0 {
        for i in 0..m {
            // SAFETY: row i of the block.
            unsafe { std::ptr::write_bytes(c.add(i * ldc), 0, n) }
        }
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            ldc as isize,
            accumulate,
            a,
            a_strides.1 as isize,
            a_strides.0 as isize,
            b,
            b_strides.1 as isize,
            b_strides.0 as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        )
    }
}

fn finish(line: &mut [f32], epilogue: Epilogue, col: usize) {
    if let Some(bias) = epilogue.bias() {
        for (c, b) in line.iter_mut().zip(&bias[col..]) {
            *c += b;
        }
    }
    if epilogue.relu() {
        for c in line {
            // Not `max`, which would turn NaN into 0 and hide a diverged run.
            *c = if *c < 0.0 { 0.0 } else { *c };
        }
    }
}
