//! Memory for results that is written once, not zeroed first.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A vector of `len` values from memory that was not cleared.
///
/// # Safety
/// `write` writes every element.
pub(crate) unsafe fn written<R>(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>]) -> R) -> (Vec<f32>, R) {
    let mut values = Vec::with_capacity(len);
    let result = write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller vouches for the values.
    unsafe { values.set_len(len) };
    (values, result)
}

/// The same memory for several tasks that write parts of it which do not overlap and are not slices of their own.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    start: *mut f32,
    len: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `Parts` gives no safe access to the memory; `part` asks its callers to keep to parts of their own.
unsafe impl Send for Parts<'_> {}
// SAFETY: as above.
unsafe impl Sync for Parts<'_> {}

impl<'a> Parts<'a> {
    /// Memory that is not yet written.
    pub(crate) fn uninit(values: &'a mut [MaybeUninit<f32>]) -> Self {
        Self { start: values.as_mut_ptr().cast(), len: values.len(), of: PhantomData }
    }

    /// Memory with values.
    pub(crate) fn of(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), of: PhantomData }
    }

    /// `len` values from `start` on, fewer where the memory ends.
    ///
    /// # Safety
    /// No other reference to one of these values is alive. Values that were never written are only written.
    #[inline(always)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [f32] {
        let start = start.min(self.len);
        let len = len.min(self.len - start);
        // SAFETY: the range lies in the memory; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// The address of value `start`, for a task whose values do not lie one after another.
    pub(crate) fn at(&self, start: usize) -> *mut f32 {
        self.start.wrapping_add(start)
    }

    /// [`Parts::part`] of memory that is not yet written.
    ///
    /// # Safety
    /// No other reference to one of these values is alive.
    #[inline(always)]
    pub(crate) unsafe fn uninit_part(&self, start: usize, len: usize) -> &'a mut [MaybeUninit<f32>] {
        let start = start.min(self.len);
        let len = len.min(self.len - start);
        // SAFETY: the range lies in the memory; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start).cast(), len) }
    }
}
