//! Being asked to stop.
//!
//! The first SIGINT (Ctrl-C) or SIGTERM asks: work that can be gone on with later looks for it at
//! its next step, saves and ends. The second one ends the process at once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Fault;

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Takes the two signals from now on. To be called once, by programs that look at [`asked`].
///
/// # Errors
/// When the system does not allow it.
pub fn on_signals() -> io::Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // In this order: at the first signal the flag is not set yet, and nothing ends.
        let code = i32::from(Fault::Stopped.exit_code());
        flag::register_conditional_shutdown(signal, code, Arc::clone(asked))?;
        flag::register(signal, Arc::clone(asked))?;
    }
    Ok(())
}

/// Whether the process was asked to stop.
pub fn asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}
