//! What a program does before it computes anything.

use kd_base::threads::parse_threads;

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

/// Looks at what the environment asks of the kernels and the thread pools, so that a program can
/// refuse it before it does anything.
///
/// # Errors
/// Bad input when `KD_KERNELS` names no kernels (every op would fail with the same message), or
/// `RAYON_NUM_THREADS` or `CANDLE_NUM_THREADS` is set to anything but a number of threads, or to
/// more than [`kd_base::threads::MAX_THREADS`]. Both pools would start any number, and both take 0
/// and an empty value for their own choice.
pub fn check_environment() -> Result<()> {
    kd_kernels::switch::kernels().map_err(|error| Error::bad_input(error.to_string()))?;
    ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"].into_iter().try_for_each(|name| {
        let value = std::env::var_os(name).unwrap_or_default();
        check_threads(name, &value.to_string_lossy())
    })
}

fn check_threads(name: &str, value: &str) -> Result<()> {
    if matches!(value, "" | "0") {
        return Ok(());
    }
    parse_threads(value).map(drop).map_err(|e| Error::bad_input(format!("{name}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_that_asks_for_a_hundred_thousand_threads_is_refused() {
        for value in ["", "0", "1", "1024"] {
            assert!(check_threads("RAYON_NUM_THREADS", value).is_ok(), "{value}");
        }
        for value in ["100000", "-1", "all"] {
            let error = check_threads("RAYON_NUM_THREADS", value).expect_err(value);
            assert!(error.is_bad_input());
            assert_eq!(
                error.to_string(),
                format!("RAYON_NUM_THREADS: expected a whole number from 1 to 1024, got `{value}`")
            );
        }
    }
}
