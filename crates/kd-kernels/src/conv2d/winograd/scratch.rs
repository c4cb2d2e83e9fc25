//! Scratch memory that each thread keeps between calls, in huge pages where the system has them:
//! with pages of 4 KiB, writing to 36 planes at once misses the first-level table of translations
//! at every store.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::thread::LocalKey;

/// Size of a huge page, to which larger blocks are aligned.
const HUGE: usize = 2 << 20;

/// A block that a thread keeps from one call to the next.
pub(super) type Workspace = Cell<Option<Block>>;

/// Floats that are set to 0 once, when they are allocated.
pub(super) struct Block {
    at: *mut u8,
    layout: Layout,
}

impl Block {
    fn new(floats: usize) -> Self {
        let bytes = (floats * size_of::<f32>()).max(64);
        let align = if bytes >= HUGE { HUGE } else { 64 };
        let Ok(layout) = Layout::from_size_align(bytes.next_multiple_of(align), align) else {
            handle_alloc_error(Layout::new::<f32>())
        };
        // SAFETY: the size is not 0.
        let at = unsafe { alloc_zeroed(layout) };
        if at.is_null() {
            handle_alloc_error(layout)
        }
        Self { at, layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.at, self.layout) }
    }
}

/// Calls `f` with at least `floats` values of scratch memory of unspecified content, at a multiple
/// of 64 bytes.
///
/// The block is taken out of the thread's cell for the time of the call: a thread that waits for
/// others inside `f` may be given other work by rayon, which then finds the cell empty and
/// allocates its own.
pub(super) fn with_scratch<R>(
    workspace: &'static LocalKey<Workspace>,
    floats: usize,
    f: impl FnOnce(*mut f32) -> R,
) -> R {
    let block = match workspace.take() {
        Some(block) if block.layout.size() >= floats * size_of::<f32>() => block,
        smaller => {
            drop(smaller);
            Block::new(floats)
        }
    };
    let result = f(block.at.cast());
    workspace.set(Some(block));
    result
}
