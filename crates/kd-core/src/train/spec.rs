//! A training recipe as an experiment file writes it.

use serde::{Deserialize, Serialize};

use super::schedule::rescaled;
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
    /// The same recipe in a `share` of its epochs, above 0 and at most 1, as the cheaper presets of
    /// the experiment files have it: epochs, warm-up, averaged epochs and the epochs after which the
    /// rate drops are multiplied by it and rounded, and what is not 0 stays at least 1. See
    /// [`Schedule::rescaled`].
    #[must_use]
    pub fn shortened(&self, share: f64) -> Self {
        let from = self.epochs;
        let epochs = ((from as f64 * share).round() as usize).max(from.min(1));
        Self {
            epochs,
            schedule: self.schedule.rescaled(from, epochs),
            warm_up_epochs: rescaled(self.warm_up_epochs, from, epochs),
            average_epochs: rescaled(self.average_epochs, from, epochs),
            ..self.clone()
        }
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(epochs: usize, at: Vec<usize>, warm_up: usize, average: usize) -> TrainSpec {
        TrainSpec {
            epochs,
            batch_size: 64,
            learning_rate: 0.1,
            schedule: Schedule::Steps { at, factor: 0.1 },
            warm_up_epochs: warm_up,
            optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 },
            max_norm: 0.,
            average_epochs: average,
        }
    }

    #[test]
    fn a_tenth_of_the_benchmarks_recipe_is_the_laptop_presets() {
        let paper = spec(240, vec![150, 180, 210], 20, 0);
        assert_eq!(paper.shortened(0.1), spec(24, vec![15, 18, 21], 2, 0));
        assert_eq!(spec(60, vec![], 1, 30).shortened(0.5), spec(30, vec![], 1, 15));
    }

    proptest! {
        #[test]
        fn a_shortened_recipe_is_a_valid_one_that_drops_in_the_same_order(
            epochs in 0usize..500, share in 0.001f64..=1.0, average in 0usize..500,
            mut at in prop::collection::vec(1usize..500, 0..5), warm_up in 0usize..500
        ) {
            at.sort_unstable();
            let long = spec(epochs, at, warm_up, average.min(epochs));
            let short = long.shortened(share);
            prop_assert!(short.check().is_ok(), "{:?}", short.check());
            prop_assert!(short.epochs <= long.epochs && (short.epochs > 0) == (epochs > 0));
            prop_assert!((short.average_epochs > 0) == (long.average_epochs > 0));
            let Schedule::Steps { at, .. } = &short.schedule else { unreachable!() };
            prop_assert!(at.windows(2).all(|w| w[0] <= w[1]) && at.iter().all(|&e| e > 0));
            prop_assert_eq!(long.shortened(1.0), long);
        }
    }
}
