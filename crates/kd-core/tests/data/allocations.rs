//! The largest block that anything in this test program has asked for: a reader that believes a
//! forged size shows here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct RecordingAllocator;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method passes its arguments to `System` unchanged, whose contract is the caller's.
unsafe impl GlobalAlloc for RecordingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: RecordingAllocator = RecordingAllocator;

/// Fails if a block of more than 200 MB was asked for; forged sizes ask for gigabytes, and the
/// largest honest block, a real file with the growth of its buffer, is below 128 MB.
pub fn assert_modest() {
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest < 200 << 20, "a block of {largest} bytes was asked for");
}

#[test]
fn the_recorder_sees_blocks() {
    let block = vec![1u8; 3 << 20];
    assert!(LARGEST.load(Ordering::Relaxed) >= block.len());
}
