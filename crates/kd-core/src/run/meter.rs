//! What a training run tells of itself while it runs.

use std::time::Instant;

use super::{Progress, Update};
use crate::train::EpochRecord;

/// Turns the records of a training run into progress: the rate is over all its epochs, those before a resume included.
pub struct Meter<'a> {
    progress: &'a dyn Progress,
    epochs: usize,
    seconds: f64,
    examples: usize,
    last: Instant,
}

impl<'a> Meter<'a> {
    /// A meter of a run of so many epochs.
    pub fn new(progress: &'a dyn Progress, epochs: usize) -> Self {
        Self { progress, epochs, seconds: 0., examples: 0, last: Instant::now() }
    }

    /// Shows one more epoch.
    pub fn observe(&mut self, record: &EpochRecord) {
        self.seconds += record.seconds;
        self.examples += record.examples;
        // An epoch that took longer than the time since the one before it was not trained here.
        let resumed = self.last.elapsed().as_secs_f64() < record.seconds / 2.;
        self.last = Instant::now();
        self.progress.update(&Update {
            phase: "train",
            epoch: record.epoch,
            epochs: self.epochs,
            step: 1,
            steps: 1,
            loss: Some(record.loss),
            metric: None,
            examples_per_second: (self.seconds > 0.).then(|| self.examples as f64 / self.seconds),
            resumed,
        });
    }

    /// Seconds that the epochs took.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
}
