//! The switch between the kernels and their twins from stock Candle ops.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

static ENABLED: LazyLock<AtomicBool> = LazyLock::new(|| {
    let off = std::env::var("KD_KERNELS").is_ok_and(|v| matches!(v.as_str(), "off" | "0"));
    AtomicBool::new(!off)
});

/// Whether ops take their CPU kernel where one applies: yes unless the environment variable `KD_KERNELS` was `off` or `0` when this was
/// first asked, or [`set_kernels_enabled`] has said otherwise since.
pub fn kernels_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Turns the kernels of the whole process on or off. With the kernels off every op is computed by its twin from stock Candle ops.
pub fn set_kernels_enabled(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}
