//! Making the next steps' batches while a step computes.

use std::sync::mpsc::sync_channel;
use std::thread;

use crate::{Error, Result};

/// Batches that wait in the channel. One more is made and waits to be taken up, so that the maker
/// is two ahead of the step.
const QUEUED: usize = 1;

/// Calls `make(0)` to `make(steps - 1)` on a thread of its own and `use_up` with each result in
/// turn on this one, at most two results ahead of it. The outcome is that of the plain loop over
/// both; only the time it takes is another.
///
/// # Errors
/// The first error in the order of the steps, of `make` or of `use_up`. The thread has ended when
/// this returns: it learns of an error at the latest when it has made the batch in hand. An error,
/// too, when the system starts no thread.
pub(crate) fn ahead<T: Send>(
    steps: usize,
    make: impl Fn(usize) -> Result<T> + Send,
    mut use_up: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let (send, receive) = sync_channel(QUEUED);
        let maker = move || {
            for step in 0..steps {
                let made = make(step);
                let last = made.is_err();
                // Sending fails when the other side has met an error and is gone.
                if send.send(made).is_err() || last {
                    break;
                }
            }
        };
        let started = thread::Builder::new().name("batches".to_owned()).spawn_scoped(scope, maker);
        started.map_err(|e| {
            Error::bad_input(format!("the thread that makes batches could not be started: {e}"))
        })?;
        // The receiver moves into the loop: leaving it early drops it, which ends the maker, whom
        // the scope then waits for.
        receive.into_iter().enumerate().try_for_each(|(step, made)| use_up(step, made?))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// What `ahead` used up, how many it made and how it ended, where `make` fails at one step and
    /// `use_up` at another.
    fn run(
        steps: usize,
        make_fails: Option<usize>,
        use_fails: Option<usize>,
    ) -> (Vec<usize>, usize, Result<()>) {
        let made = AtomicUsize::new(0);
        let mut used = Vec::new();
        let fail = |at: Option<usize>, step, what: &str| match at {
            Some(at) if at == step => Err(Error::bad_input(format!("{what} {step}"))),
            _ => Ok(()),
        };
        let make = |step| {
            made.fetch_add(1, Ordering::SeqCst);
            fail(make_fails, step, "make").map(|()| step * step)
        };
        let outcome = ahead(steps, make, |step, value| {
            assert_eq!(value, step * step);
            fail(use_fails, step, "use")?;
            used.push(step);
            Ok(())
        });
        // Whatever the outcome, the maker has ended: its count stands still.
        let count = made.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(5));
        assert_eq!(made.load(Ordering::SeqCst), count);
        (used, count, outcome)
    }

    #[test]
    fn every_step_gets_its_own_batch_in_order() {
        for steps in [0, 1, 2, 3, 50] {
            let (used, made, outcome) = run(steps, None, None);
            assert!(outcome.is_ok());
            assert_eq!((used, made), ((0..steps).collect(), steps));
        }
    }

    #[test]
    fn a_batch_that_fails_ends_the_loop_after_the_steps_before_it() {
        let (used, made, outcome) = run(50, Some(7), None);
        assert_eq!(outcome.expect_err("an error").to_string(), "make 7");
        assert_eq!((used, made), ((0..7).collect(), 8));
    }

    #[test]
    fn a_step_that_fails_stops_the_maker_at_most_three_batches_on() {
        let (used, made, outcome) = run(1000, None, Some(7));
        assert_eq!(outcome.expect_err("an error").to_string(), "use 7");
        assert_eq!(used, (0..7).collect::<Vec<_>>());
        // Step 7's own, one in the channel, one waiting to enter it, and one begun as the error
        // came.
        assert!((8..=11).contains(&made), "{made}");
    }

    #[test]
    fn the_earlier_of_two_errors_is_the_one_reported() {
        let (_, _, outcome) = run(50, Some(8), Some(7));
        assert_eq!(outcome.expect_err("an error").to_string(), "use 7");
    }

    #[test]
    fn the_maker_runs_two_ahead_of_a_slow_step_and_no_further() {
        let made = AtomicUsize::new(0);
        let outcome = ahead(
            20,
            |step| {
                made.fetch_add(1, Ordering::SeqCst);
                Ok(step)
            },
            |step, _| {
                // Waits until the maker is where it should be; a maker that does not run ahead
                // never gets there.
                let two_ahead = (step + 3).min(20);
                let waited = (0..5000).any(|_| {
                    thread::sleep(Duration::from_millis(1));
                    made.load(Ordering::SeqCst) >= two_ahead
                });
                assert!(waited, "step {step}: {} made", made.load(Ordering::SeqCst));
                thread::sleep(Duration::from_millis(2));
                assert_eq!(made.load(Ordering::SeqCst), two_ahead);
                Ok(())
            },
        );
        assert!(outcome.is_ok());
    }
}
