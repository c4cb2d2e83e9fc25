//! Memory for results that is written once, not zeroed first.
//!
//! Memory that holds no values yet is `[MaybeUninit<f32>]` until all of it is written, never
//! `[f32]`: loops that fill it take it as such, and [`Parts`] of it give only such slices out.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use rayon::prelude::*;

/// A vector of `len` values from memory that was not cleared, and what `write` returns.
///
/// # Safety
/// `write` writes every element, or panics.
pub(crate) unsafe fn written<R>(
    len: usize,
    write: impl FnOnce(&mut [MaybeUninit<f32>]) -> R,
) -> (Vec<f32>, R) {
    let mut values = Vec::with_capacity(len);
    let result = write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller promises the values.
    unsafe { values.set_len(len) };
    (values, result)
}

/// [`written`] by blocks of `block` elements, the last of which may be shorter, each on any thread:
/// `write` is given the number of the block.
///
/// # Safety
/// `write` writes every element of its block, or panics.
pub(crate) unsafe fn written_by_blocks(
    len: usize,
    block: usize,
    write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync,
) -> Vec<f32> {
    let blocks = |all: &mut [MaybeUninit<f32>]| {
        all.par_chunks_mut(block.max(1)).enumerate().for_each(|(at, block)| write(at, block));
    };
    // SAFETY: the blocks cover the memory, and the caller promises each of them.
    unsafe { written(len, blocks).0 }
}

/// Copies `values` to memory of the same length, which then holds values.
#[inline(always)]
pub(crate) fn copied<'a>(to: &'a mut [MaybeUninit<f32>], values: &[f32]) -> &'a mut [f32] {
    assert_eq!(to.len(), values.len(), "a copy has the length of its source");
    // SAFETY: both are valid for this length and cannot overlap, and afterwards every element holds
    // a value.
    unsafe {
        std::ptr::copy_nonoverlapping(values.as_ptr(), to.as_mut_ptr().cast(), values.len());
        assume_init(to)
    }
}

/// Writes `value` to all of the memory, which then holds values.
#[inline(always)]
pub(crate) fn filled(to: &mut [MaybeUninit<f32>], value: f32) -> &mut [f32] {
    to.fill(MaybeUninit::new(value));
    // SAFETY: every element was written.
    unsafe { assume_init(to) }
}

/// The memory as the values that it holds.
///
/// # Safety
/// Every element was written.
#[inline(always)]
pub(crate) unsafe fn assume_init(written: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    // SAFETY: of one layout; the caller promises the values, and the borrow goes on.
    unsafe { std::slice::from_raw_parts_mut(written.as_mut_ptr().cast(), written.len()) }
}

/// The same memory for several tasks that write parts of it which do not overlap and are not slices
/// of their own. `T` is `f32` where the memory holds values, and `MaybeUninit<f32>` where it does
/// not yet.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    of: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Parts<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Parts<'_, T> {}

// SAFETY: a `Parts` gives no safe access to the memory; `part` asks its callers to keep to parts of
// their own. `T: Send` as for `&mut [T]`.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: as above; two threads that share a `Parts` have as much of the memory as if it had been
// sent to both.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// The parts of this memory, which stays borrowed.
    pub(crate) fn of(memory: &'a mut [T]) -> Self {
        Self { start: memory.as_mut_ptr(), len: memory.len(), of: PhantomData }
    }

    /// `len` elements from `start` on, fewer where the memory ends.
    ///
    /// # Safety
    /// No other reference to one of these elements is alive.
    #[inline(always)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [T] {
        let start = start.min(self.len);
        let len = len.min(self.len - start);
        // SAFETY: the range lies in the memory; the caller promises that it is the only one who
        // refers to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// The address of element `start`, for a task whose elements do not lie one after another.
    pub(crate) fn at(&self, start: usize) -> *mut T {
        self.start.wrapping_add(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_parts_cover_the_memory_and_end_with_it() {
        // SAFETY: each block is filled.
        let values = unsafe {
            written_by_blocks(7, 3, |at, block| {
                filled(block, at as f32);
            })
        };
        assert_eq!(values, [0., 0., 0., 1., 1., 1., 2.]);
        let mut values = values;
        let parts = Parts::of(&mut values[..]);
        // SAFETY: the parts do not overlap.
        let (low, high) = unsafe { (parts.part(0, 5), parts.part(5, 5)) };
        assert_eq!((low.len(), high.len()), (5, 2));
        high[1] = 9.0;
        low[0] = 8.0;
        assert_eq!(values, [8., 0., 0., 1., 1., 1., 9.]);
    }
}
