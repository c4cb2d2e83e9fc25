//! Loops over values that lie one after another.

use rayon::prelude::*;

use crate::multiversion::multiversioned;
use crate::operand::TASK;

/// a += b, of the same length.
pub(crate) fn add_assign(a: &mut [f32], b: &[f32]) {
    if a.len() <= TASK {
        add(a, b);
    } else {
        a.par_chunks_mut(TASK).zip(b.par_chunks(TASK)).for_each(|(a, b)| add(a, b));
    }
}

multiversioned! {
    /// a += b on this thread.
    pub(crate) fn add(a: &mut [f32], b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
    }
}
