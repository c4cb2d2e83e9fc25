//! The product of operands rounded to bfloat16, for processors that cannot multiply such numbers:
//! in `f32`, from rounded copies.

use super::{Epilogue, MatRef, dispatch};
use crate::Precision;
use crate::operand::TASK;
use crate::precision::round_to_bfloat16;
use rayon::prelude::*;

/// # Safety
/// As [`dispatch`].
pub(super) unsafe fn gemm(a: MatRef, b: MatRef, epilogue: Epilogue, accumulate: bool, c: *mut f32) {
    let (a_data, b_data) = (rounded(&a), rounded(&b));
    // SAFETY: the copies have the elements of the operands at the same places; the rest is the
    // caller's promise.
    unsafe {
        dispatch(
            MatRef { data: &a_data, ..a },
            MatRef { data: &b_data, ..b },
            epilogue,
            Precision::Float32,
            accumulate,
            c,
        )
    }
}

/// The data behind a matrix up to its last element, rounded.
fn rounded(x: &MatRef) -> Vec<f32> {
    let used = if x.rows == 0 || x.cols == 0 {
        0
    } else {
        (x.rows - 1) * x.row_stride + (x.cols - 1) * x.col_stride + 1
    };
    let mut data = x.data[..used].to_vec();
    data.par_chunks_mut(TASK)
        .for_each(|data| data.iter_mut().for_each(|x| *x = round_to_bfloat16(*x)));
    data
}
