//! What a training run tells of itself while it runs.

use kd_core::train::{EpochRecord, Observer, StepRecord};
use kd_experiment::{Progress, Update};

/// Turns the records of a training run into progress: the rate is over all its epochs, those before
/// a resume included.
pub struct Meter<'a> {
    progress: &'a dyn Progress,
    epochs: usize,
    seconds: f64,
    examples: usize,
}

impl<'a> Meter<'a> {
    /// A meter of a run of so many epochs.
    pub fn new(progress: &'a dyn Progress, epochs: usize) -> Self {
        Self { progress, epochs, seconds: 0., examples: 0 }
    }

    /// Seconds that the epochs took.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    fn update(&self, epoch: usize, (step, steps): (usize, usize), loss: f64) -> Update<'static> {
        Update {
            phase: "train",
            epoch,
            epochs: self.epochs,
            step,
            steps,
            loss: Some(loss),
            metric: None,
            examples_per_second: (self.seconds > 0.).then(|| self.examples as f64 / self.seconds),
            resumed: false,
        }
    }
}

impl Observer for Meter<'_> {
    fn step(&mut self, record: StepRecord) {
        let StepRecord { epoch, step, steps, loss } = record;
        self.progress.update(&self.update(epoch, (step, steps), loss));
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.add(record, false);
    }

    fn resumed(&mut self, record: &EpochRecord) {
        self.add(record, true);
    }
}

impl Meter<'_> {
    fn add(&mut self, record: &EpochRecord, resumed: bool) {
        self.seconds += record.seconds;
        self.examples += record.examples;
        self.progress.update(&Update { resumed, ..self.update(record.epoch, (1, 1), record.loss) });
    }
}
