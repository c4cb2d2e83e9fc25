//! An epoch that is under way: its sums, and what a state file says of them.

use std::collections::BTreeMap;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::loss_terms::{LossTerms, TermValue, Unread};
use crate::Result;
use crate::seed::StepSeed;

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
    /// Steps that have been taken.
    pub(super) step: usize,
    /// Steps whose numbers are in the sums.
    read: usize,
    pub(super) loss: f64,
    pub(super) terms: BTreeMap<String, f64>,
    pub(super) seconds: f64,
    /// Steps that have been taken and are not in the sums yet.
    unread: Unread,
}

impl Sums {
    pub(super) fn of(saved: &Unfinished) -> Self {
        let terms = saved.terms.iter().map(|(name, &bits)| (name.clone(), f64::from_bits(bits)));
        Self {
            step: saved.step,
            read: saved.step,
            loss: f64::from_bits(saved.loss),
            terms: terms.collect(),
            seconds: saved.seconds,
            unread: Unread::default(),
        }
    }

    /// Takes the terms of the next step, whose numbers may still be on the device.
    pub(super) fn push(&mut self, draws: StepSeed, terms: LossTerms) {
        self.unread.push(draws, terms);
    }

    /// Whether it is time to [`Sums::settle`].
    pub(super) fn are_due(&self, device: &Device) -> bool {
        self.unread.is_due(device)
    }

    /// Reads and adds the numbers of all steps that have been taken.
    ///
    /// # Errors
    /// [`crate::Error::NonFinite`] with the first term that is not finite.
    pub(super) fn settle(&mut self) -> Result<()> {
        for values in self.unread.read()? {
            for TermValue { name, weight, value } in values {
                self.loss += weight * f64::from(value);
                *self.terms.entry(name.to_owned()).or_default() += f64::from(value);
            }
            self.read += 1;
        }
        Ok(())
    }

    /// The mean loss of the steps whose numbers are known; 0 before any is.
    pub(super) fn mean(&self) -> f64 {
        self.loss / self.read.max(1) as f64
    }

    pub(super) fn saved(&self, phase: usize, seconds: f64) -> Unfinished {
        let terms = self.terms.iter().map(|(name, sum)| (name.clone(), sum.to_bits()));
        let (step, loss, terms) = (self.step, self.loss.to_bits(), terms.collect());
        Unfinished { phase, step, loss, terms, seconds }
    }
}
