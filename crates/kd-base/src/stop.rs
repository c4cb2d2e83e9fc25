//! Being asked to stop.
//!
//! The first SIGINT (Ctrl-C) or SIGTERM asks: work that can be gone on with later looks for it at
//! its next step, saves and ends. The second one ends the process at once, and so does the first one
//! while [`waiting`] for input, where there is no next step that could look. SIGUSR1 asks too, and
//! any number of them ask once: it is for scripts that hand on a signal which the process may have
//! had itself.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Fault;

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static WAITING: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Takes the three signals from now on. To be called once, by programs that look at [`asked`].
///
/// # Errors
/// When the system does not allow it.
pub fn on_signals() -> io::Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    let waiting = WAITING.get_or_init(Arc::default);
    let first = Arc::<AtomicBool>::default();
    let code = i32::from(Fault::Stopped.exit_code());
    for signal in [SIGINT, SIGTERM] {
        // In this order: at the first signal the flag is not set yet, and nothing ends.
        flag::register_conditional_shutdown(signal, code, Arc::clone(&first))?;
        flag::register_conditional_shutdown(signal, code, Arc::clone(waiting))?;
        flag::register(signal, Arc::clone(&first))?;
        flag::register(signal, Arc::clone(asked))?;
    }
    // A SIGTERM that comes behind it is still the first one.
    #[cfg(unix)]
    {
        use signal_hook::consts::SIGUSR1;
        flag::register_conditional_shutdown(SIGUSR1, code, Arc::clone(waiting))?;
        flag::register(SIGUSR1, Arc::clone(asked))?;
    }
    Ok(())
}

/// Whether the process was asked to stop.
pub fn asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::SeqCst))
}

/// Does `read`, which may wait for as long as it likes. A signal that comes meanwhile ends the
/// process at once, with the exit code of a process that was asked to stop: what it has done so far
/// must be safe. To be called on one thread only.
pub fn waiting<T>(read: impl FnOnce() -> T) -> T {
    let waiting = WAITING.get_or_init(Arc::default);
    waiting.store(true, Ordering::SeqCst);
    // A signal that came between the caller's last look and here would end nothing.
    if asked() {
        std::process::exit(i32::from(Fault::Stopped.exit_code()));
    }
    let got = read();
    waiting.store(false, Ordering::SeqCst);
    got
}
