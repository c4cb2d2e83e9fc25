//! An epoch that is under way: its sums, and what a state file says of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far a run has come inside an epoch. Sums are kept as the bits of the numbers: text may round
/// them.
#[derive(Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// The phase, counted from 1.
    pub(super) phase: usize,
    /// Steps that are behind it.
    pub(super) step: usize,
    /// The sum of the total losses.
    pub(super) loss: u64,
    /// The sums of the terms' raw values.
    pub(super) terms: BTreeMap<String, u64>,
    /// Time that they took.
    pub(super) seconds: f64,
}

/// The sums of an epoch that is under way.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) step: usize,
    pub(super) loss: f64,
    pub(super) terms: BTreeMap<String, f64>,
    pub(super) seconds: f64,
}

impl Sums {
    pub(super) fn of(saved: &Unfinished) -> Self {
        let terms = saved.terms.iter().map(|(name, &bits)| (name.clone(), f64::from_bits(bits)));
        Self {
            step: saved.step,
            loss: f64::from_bits(saved.loss),
            terms: terms.collect(),
            seconds: saved.seconds,
        }
    }

    pub(super) fn saved(&self, phase: usize, seconds: f64) -> Unfinished {
        let terms = self.terms.iter().map(|(name, sum)| (name.clone(), sum.to_bits()));
        let (step, loss, terms) = (self.step, self.loss.to_bits(), terms.collect());
        Unfinished { phase, step, loss, terms, seconds }
    }
}
