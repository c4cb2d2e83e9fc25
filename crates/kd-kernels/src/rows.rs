//! Reductions of rows of f32 in lanes of a fixed number, so that sums have one order on every
//! machine, and sums of columns by tasks.

use rayon::prelude::*;

use crate::operand::TASK;

/// Lanes of one step of a reduction: two registers of the widest set, so that one addition does not
/// wait for the last.
pub(crate) const LANES: usize = 32;

/// The lanes' sum by halves.
#[inline(always)]
pub(crate) fn fold(mut lanes: [f32; LANES]) -> f32 {
    for half in [16, 8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}

/// Σ_j x_j.
#[inline(always)]
pub(crate) fn sum(xs: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] += chunk[l];
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    fold(lanes)
}

/// Σ_j (x_j − mean)².
#[inline(always)]
pub(crate) fn sum_of_squares(xs: &[f32], mean: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        for l in 0..LANES {
            let x = chunk[l] - mean;
            lanes[l] += x * x;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += (x - mean) * (x - mean);
    }
    fold(lanes)
}

/// Σ_j x_j·y_j; `ys` is as long as `xs`.
#[inline(always)]
pub(crate) fn dot(xs: &[f32], ys: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (x_chunks, x_rest) = xs.as_chunks::<LANES>();
    let (y_chunks, y_rest) = ys.as_chunks::<LANES>();
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for l in 0..LANES {
            lanes[l] += x[l] * y[l];
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *lane += x * y;
    }
    fold(lanes)
}

/// Rows of `d` values that one task works on.
pub(crate) fn per_task(d: usize) -> usize {
    (TASK / d.max(1)).max(1)
}

/// Calls `task` for each of 0..count, on this thread if there is but one, and returns the results
/// in order.
pub(crate) fn tasks<R: Send>(count: usize, task: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    if count <= 1 {
        (0..count).map(task).collect()
    } else {
        (0..count).into_par_iter().map(task).collect()
    }
}

/// The sum of equally long parts, in their order.
pub(crate) fn in_order(parts: Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut sums = parts.next().unwrap_or_else(|| vec![0f32; len]);
    for part in parts {
        sums.iter_mut().zip(&part).for_each(|(s, x)| *s += x);
    }
    sums
}
