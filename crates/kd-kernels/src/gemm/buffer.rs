//! Scratch memory for packed operands, kept by each thread between calls so that the steady state
//! allocates nothing.

use std::cell::Cell;
use std::thread::LocalKey;

/// One cache line, which is also one AVX-512 register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; 16]);

/// A buffer that a thread keeps from one call to the next.
pub(crate) type Workspace = Cell<Vec<Line>>;

/// Calls `f` with at least `lines` lines of scratch memory of unspecified content.
///
/// The buffer is taken out of the thread's cell for the time of the call: a thread that waits for
/// others inside `f` may be given another product to work on by rayon, and that one then finds the
/// cell empty and allocates its own.
pub(crate) fn with_lines<R>(
    workspace: &'static LocalKey<Workspace>,
    lines: usize,
    f: impl FnOnce(*mut f32) -> R,
) -> R {
    let mut buffer = workspace.take();
    if buffer.len() < lines {
        buffer.resize(lines, Line([0.0; 16]));
    }
    let result = f(buffer.as_mut_ptr().cast());
    workspace.set(buffer);
    result
}
