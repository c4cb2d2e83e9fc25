//! Data that is loaded when it is first asked for, so that commands which need none do not wait for
//! it.

use std::sync::OnceLock;

use super::{DataError, Provenance};
use crate::Result;

type Load<T> = Box<dyn Fn() -> Result<(T, Provenance), DataError> + Send + Sync>;

/// A data set and where it came from, found, downloaded or generated at the first call of
/// [`get`](OnDemand::get).
pub struct OnDemand<T> {
    load: Load<T>,
    loaded: OnceLock<(T, Provenance)>,
}

impl<T> OnDemand<T> {
    /// What `load` gives, once it is asked for.
    pub fn new(
        load: impl Fn() -> Result<(T, Provenance), DataError> + Send + Sync + 'static,
    ) -> Self {
        Self { load: Box::new(load), loaded: OnceLock::new() }
    }

    /// The data. After a failure the next call tries again.
    ///
    /// # Errors
    /// Those of loading.
    pub fn get(&self) -> Result<&(T, Provenance)> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = (self.load)()?;
        Ok(self.loaded.get_or_init(|| loaded))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn data_is_loaded_once_and_tried_again_after_a_failure() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let data = OnDemand::new(|| match CALLS.fetch_add(1, Ordering::Relaxed) {
            0 => Err(DataError::Magic { path: "numbers".into(), expected: 1, got: 2 }),
            call => Ok((
                call,
                Provenance {
                    dataset: "numbers",
                    known: crate::data::Known::Generated,
                    found: String::new(),
                    note: None,
                    content: String::new(),
                },
            )),
        });
        assert!(data.get().is_err());
        assert_eq!((data.get().unwrap().0, data.get().unwrap().0), (1, 1));
        assert_eq!(CALLS.load(Ordering::Relaxed), 2);
    }
}
