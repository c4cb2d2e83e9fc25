//! Learning-rate schedules: pure functions of how far training has come.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the learning rate moves, as a factor on the base rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Schedule {
    /// 1 throughout.
    Constant {},
    /// `(1 + cos(π·t))/2` for the fraction t of all steps done: from 1 to 0.
    Cosine {},
    /// `1 − t`: from 1 to 0.
    Linear {},
    /// `factor^epoch`, constant within an epoch; Hinton et al. 2012 used 0.998.
    Exponential {
        /// Factor per epoch.
        factor: f64,
    },
    /// `factor^k` after k of the epochs in `at` have been completed.
    Steps {
        /// Epochs, counted from 1, after which the rate drops.
        at: Vec<usize>,
        /// Factor of each drop.
        factor: f64,
    },
}

impl Schedule {
    /// Checks that the rate falls or stays, so that it is a number throughout.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Exponential { factor } | Self::Steps { factor, .. }
                if !(0. ..=1.).contains(factor) =>
            {
                Err(Error::bad_input(format!(
                    "train.schedule: expected a factor from 0 to 1, got {factor}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The same schedule for `epochs` epochs in place of `from`: drops come after the same share of
    /// the run, rounded, never before the first epoch has ended, and a factor for each epoch
    /// becomes one whose product over the run is the same. The others are functions of the share of
    /// the run as they are.
    pub fn rescaled(&self, from: usize, epochs: usize) -> Self {
        match self {
            Self::Constant {} | Self::Cosine {} | Self::Linear {} => self.clone(),
            Self::Exponential { factor } => {
                Self::Exponential { factor: factor.powf(from as f64 / epochs.max(1) as f64) }
            }
            Self::Steps { at, factor } => Self::Steps {
                at: at.iter().map(|&after| rescaled(after, from, epochs)).collect(),
                factor: *factor,
            },
        }
    }

    /// The factor at a step: `epoch` and `step` count from 0, `epochs` and `steps` are the totals
    /// (steps per epoch). For the first `warm_up` epochs it is multiplied by a ramp that grows
    /// linearly with the steps, reaching 1 at the last of them.
    pub fn factor(
        &self,
        epoch: usize,
        step: usize,
        epochs: usize,
        steps: usize,
        warm_up: usize,
    ) -> f64 {
        let done = (epoch * steps + step) as f64;
        let t = done / (epochs * steps).max(1) as f64;
        let factor = match self {
            Self::Constant {} => 1.,
            Self::Cosine {} => (1. + (std::f64::consts::PI * t).cos()) / 2.,
            Self::Linear {} => 1. - t,
            Self::Exponential { factor } => factor.powi(epoch as i32),
            Self::Steps { at, factor } => {
                factor.powi(at.iter().filter(|&&e| epoch >= e).count() as i32)
            }
        };
        let ramp = (warm_up * steps) as f64;
        if done + 1. < ramp { factor * (done + 1.) / ramp } else { factor }
    }
}

/// A number of epochs of a run of `from` as one of a run of `epochs`: the same share, rounded, and
/// at least 1 where it is not 0.
pub(super) fn rescaled(number: usize, from: usize, epochs: usize) -> usize {
    if from == epochs {
        return number;
    }
    let share = epochs as f64 / from.max(1) as f64;
    ((number as f64 * share).round() as usize).max(number.min(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_schedule_starts_at_one_and_ends_where_it_says() {
        let ends = |s: &Schedule| (s.factor(0, 0, 10, 5, 0), s.factor(9, 4, 10, 5, 0));
        assert_eq!(ends(&Schedule::Constant {}), (1., 1.));
        assert!(ends(&Schedule::Cosine {}).1 < 0.002 && ends(&Schedule::Cosine {}).0 == 1.);
        assert!((ends(&Schedule::Linear {}).1 - 0.02).abs() < 1e-12);
        assert!((ends(&Schedule::Exponential { factor: 0.5 }).1 - 0.5f64.powi(9)).abs() < 1e-12);
        let steps = Schedule::Steps { at: vec![3, 6], factor: 0.1 };
        let at = |epoch| steps.factor(epoch, 0, 10, 5, 0);
        assert!(at(2) == 1. && (at(3) - 0.1).abs() < 1e-12 && (at(6) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn a_rescaled_schedule_has_its_rates_at_the_same_shares_of_the_run() {
        let all = [
            Schedule::Constant {},
            Schedule::Cosine {},
            Schedule::Linear {},
            Schedule::Exponential { factor: 0.99 },
            Schedule::Steps { at: vec![150, 180, 210], factor: 0.1 },
        ];
        for schedule in all {
            let short = schedule.rescaled(240, 24);
            for epoch in 0..24 {
                let (a, b) =
                    (short.factor(epoch, 0, 24, 5, 0), schedule.factor(10 * epoch, 0, 240, 5, 0));
                assert!((a - b).abs() < 1e-12, "{schedule:?} at {epoch}: {a} and {b}");
            }
            assert_eq!(schedule.rescaled(240, 240), schedule);
        }
        // As the laptop preset of the tables has them for 30 epochs.
        let steps = Schedule::Steps { at: vec![150, 180, 210], factor: 0.1 };
        assert_eq!(steps.rescaled(240, 30), Schedule::Steps { at: vec![19, 23, 26], factor: 0.1 });
        assert_eq!(steps.rescaled(240, 1), Schedule::Steps { at: vec![1, 1, 1], factor: 0.1 });
    }

    #[test]
    fn a_factor_that_is_no_fraction_is_refused() {
        for factor in [-0.1, 1.5, f64::NAN, f64::INFINITY] {
            let both = [Schedule::Exponential { factor }, Schedule::Steps { at: vec![3], factor }];
            for error in both.map(|schedule| schedule.check().expect_err("no fraction")) {
                assert!(error.is_bad_input());
                assert_eq!(
                    error.to_string(),
                    format!("train.schedule: expected a factor from 0 to 1, got {factor}")
                );
            }
        }
        for factor in [0., 0.998, 1.] {
            assert!(
                Schedule::Exponential { factor }.check().is_ok()
                    && Schedule::Steps { at: vec![], factor }.check().is_ok()
            );
        }
    }

    #[test]
    fn warm_up_rises_linearly_to_the_schedule_and_then_leaves_it_alone() {
        let s = Schedule::Constant {};
        let ramp: Vec<f64> = (0..12).map(|i| s.factor(i / 5, i % 5, 10, 5, 2)).collect();
        assert!((ramp[0] - 0.1).abs() < 1e-12 && (ramp[4] - 0.5).abs() < 1e-12);
        assert!(ramp[9..].iter().all(|&f| f == 1.));
    }
}
