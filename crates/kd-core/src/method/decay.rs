//! A weight that falls to 0 towards the end of training.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Epochs, counted from 1, over which weights fall along half a cosine, as an experiment file
/// writes them: `decay = { from = 150, to = 240 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Decay {
    /// The last epoch with the whole weight.
    pub from: usize,
    /// The first epoch without any.
    pub to: usize,
}

impl Decay {
    /// Checks the epochs: `to` is above `from`, and at most 1,000,000.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(self) -> Result<()> {
        Error::unless_within("method.decay.from", self.from, 0..=999_999)?;
        Error::unless_within("method.decay.to", self.to, self.from + 1..=1_000_000)
    }

    /// What is left of a weight at `epoch`, counted from 1: 1 up to `from`, 0 from `to` on, and (1 +
    /// cos(π · (epoch − from)/(to − from)))/2 between them.
    pub fn share(self, epoch: usize) -> f64 {
        if epoch >= self.to {
            return 0.;
        }
        let gone = epoch.saturating_sub(self.from) as f64 / (self.to - self.from) as f64;
        (1. + (PI * gone).cos()) / 2.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_stays_then_falls_along_half_a_cosine_and_is_gone() -> Result<()> {
        let decay = Decay { from: 150, to: 240 };
        decay.check()?;
        let at = |epoch: usize, expected: f64| {
            let share = decay.share(epoch);
            assert!((share - expected).abs() < 1e-12, "{epoch}: {share}, expected {expected}");
        };
        for (epoch, expected) in [(1, 1.), (150, 1.), (180, 0.75), (195, 0.5), (210, 0.25)] {
            at(epoch, expected);
        }
        at(240, 0.);
        at(1000, 0.);
        Ok(())
    }

    #[test]
    fn epochs_that_do_not_rise_are_refused_in_one_line() {
        for (from, to, expected) in [
            (15, 15, "method.decay.to: expected 16 to 1000000, got 15"),
            (15, 2_000_000, "method.decay.to: expected 16 to 1000000, got 2000000"),
            (1_000_000, 1, "method.decay.from: expected 0 to 999999, got 1000000"),
        ] {
            let error = Decay { from, to }.check().expect_err("refused");
            assert!(error.is_bad_input() && error.to_string() == expected, "{error}");
        }
    }
}
