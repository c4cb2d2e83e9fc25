//! A training recipe as an experiment file writes it.

use serde::{Deserialize, Serialize};

use super::{OptimizerSpec, Schedule};
use crate::{Error, Result};

/// How a network is trained, as an experiment file writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainSpec {
    /// Passes over the training set.
    pub epochs: usize,
    /// Examples per step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Learning rate where the schedule's factor is 1.
    pub learning_rate: f64,
    /// How it moves.
    pub schedule: Schedule,
    /// Epochs over which it rises from 0 at the start.
    pub warm_up_epochs: usize,
    /// The optimiser.
    pub optimizer: OptimizerSpec,
    /// Longest weight vector into a unit (L2 norm), kept after every step; 0 for no limit.
    pub max_norm: f64,
    /// How many of the last epochs give their final weights to the average that becomes the
    /// network; 0 or 1 for the last alone.
    pub average_epochs: usize,
}

impl TrainSpec {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::bad_input(format!("train: {what}")));
        Error::unless_within("train.epochs", self.epochs, 0..=1_000_000)?;
        Error::unless_within("train.warm-up-epochs", self.warm_up_epochs, 0..=1_000_000)?;
        Error::unless_within("train.batch-size", self.batch_size, 1..=1_000_000_000)?;
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.) {
            return fault(format!("expected a learning-rate above 0, got {}", self.learning_rate));
        }
        if !(self.max_norm.is_finite() && self.max_norm >= 0.) {
            return fault(format!("expected a max-norm of at least 0, got {}", self.max_norm));
        }
        if self.average_epochs > self.epochs {
            return fault(format!(
                "expected average-epochs of at most epochs = {}, got {}",
                self.epochs, self.average_epochs
            ));
        }
        self.schedule.check()?;
        self.optimizer.check()
    }
}
