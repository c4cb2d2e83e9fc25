//! What a program does before it computes anything.

use crate::{Error, Result, memory};

/// To be called first in `main`, before anything computes: keeps Candle's own element-wise ops on
/// the calling thread, and freed memory ([`memory::keep_freed_memory`]).
///
/// Candle runs them on a pool whose idle threads spin, and which takes the cores from the threads
/// of our kernels: a training step is slower with it. A value that the user gave to
/// `CANDLE_NUM_THREADS` is left alone.
///
/// # Safety
/// The process has one thread: this changes the environment, which another might be reading.
pub unsafe fn prepare() {
    memory::keep_freed_memory();
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: nobody reads the environment at the same time, says the caller.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
}

/// Looks at what the environment asks of the kernels, so that a program can refuse it before it
/// does anything.
///
/// # Errors
/// Bad input when `KD_KERNELS` names no kernels. Every op would fail with the same message.
pub fn check_environment() -> Result<()> {
    kd_kernels::switch::kernels().map(drop).map_err(|error| Error::bad_input(error.to_string()))
}
