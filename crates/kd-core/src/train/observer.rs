//! How a run goes: the record of an epoch, where a step stands, and who is told of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EpochRecord {
    /// Counted from 1, over all phases of the run.
    pub epoch: usize,
    /// The phase of the run, counted from 1.
    #[serde(default = "first")]
    pub phase: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean over its steps of the total loss.
    pub loss: f64,
    /// Mean over its steps of each term's raw value.
    pub terms: BTreeMap<String, f64>,
    /// What was measured at its end, where a task measures anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measured: BTreeMap<String, f64>,
    /// Examples shown.
    pub examples: usize,
    /// Time it took; not a result.
    pub seconds: f64,
}

fn first() -> usize {
    1
}

/// Where a run stands inside an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    /// Counted from 1, over all phases of the run.
    pub epoch: usize,
    /// Steps of it that are behind us.
    pub step: usize,
    /// Its steps.
    pub steps: usize,
    /// Mean over its steps so far of the total loss.
    pub loss: f64,
}

/// Who is told how a run goes. A closure `|record: &EpochRecord|` is told of the epochs alone, `()`
/// of nothing.
pub trait Observer {
    /// A step is done that does not end its epoch.
    fn step(&mut self, _record: StepRecord) {}
    /// An epoch is done.
    fn epoch(&mut self, record: &EpochRecord);
    /// Asked after each step: whether the run is to save its state and end with
    /// [`Error::Stopped`](crate::Error::Stopped). By default it never is.
    fn stops(&mut self) -> bool {
        false
    }
    /// An epoch was done by an earlier process, from whose state this one goes on. By default it is
    /// told as any other.
    fn resumed(&mut self, record: &EpochRecord) {
        self.epoch(record);
    }
}

/// Nobody is told.
impl Observer for () {
    fn epoch(&mut self, _record: &EpochRecord) {}
}

impl<F: FnMut(&EpochRecord)> Observer for F {
    fn epoch(&mut self, record: &EpochRecord) {
        self(record);
    }
}
