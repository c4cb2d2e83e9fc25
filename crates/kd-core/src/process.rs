//! What a program does before it computes anything.

use crate::memory;

/// To be called first in `main`, before anything computes: keeps Candle's own element-wise ops on the calling thread, and freed memory
/// ([`memory::keep_freed_memory`]).
///
/// Candle runs them on a pool whose idle threads spin, and which takes the cores from the threads of our kernels: a training step
/// is slower with it. A value that the user gave to `CANDLE_NUM_THREADS` is left alone.
pub fn prepare() {
    memory::keep_freed_memory();
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: the process has one thread so far, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
}
