//! What a training run tells of itself while it runs.

use kd_base::stop;
use kd_core::train::{EpochRecord, Observer, StepRecord};
use kd_experiment::{Progress, Update};

/// Turns the records of a training run into progress. The rate is that of the epochs of this
/// process: those before a resume may have run on a busier machine.
pub struct Meter<'a> {
    progress: &'a dyn Progress,
    epochs: usize,
    seconds: f64,
    /// Examples and seconds of the epochs of this process.
    own: (usize, f64),
}

impl<'a> Meter<'a> {
    /// A meter of a run of so many epochs.
    pub fn new(progress: &'a dyn Progress, epochs: usize) -> Self {
        Self { progress, epochs, seconds: 0., own: (0, 0.) }
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
            examples_per_second: (self.own.1 > 0.).then(|| self.own.0 as f64 / self.own.1),
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

    fn stops(&mut self) -> bool {
        stop::asked()
    }

    fn resumed(&mut self, record: &EpochRecord) {
        self.add(record, true);
    }
}

impl Meter<'_> {
    fn add(&mut self, record: &EpochRecord, resumed: bool) {
        self.seconds += record.seconds;
        if !resumed {
            self.own.0 += record.examples;
            self.own.1 += record.seconds;
        }
        self.progress.update(&Update { resumed, ..self.update(record.epoch, (1, 1), record.loss) });
    }
}
