//! What the loss terms of a step came to.
//!
//! On the CPU the numbers are there at once. On an accelerator a read waits until the device has
//! done all that was asked of it, and leaves it without work until the next step is described to
//! it: the numbers stay there, and those of several steps are read together.

use candle_core::{DType, Device, Tensor};

use crate::method::Term;
use crate::seed::StepSeed;
use crate::{Error, Result};

/// What one loss term came to at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TermValue {
    /// Its name.
    pub name: &'static str,
    /// Its weight in the total.
    pub weight: f64,
    /// The raw value.
    pub value: f32,
}

/// The raw values of a step's loss terms, which may still be on the device.
#[derive(Clone, Debug)]
pub struct LossTerms {
    /// Names and weights.
    terms: Vec<(&'static str, f64)>,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    Here(Vec<f32>),
    /// `f32 [terms]`.
    There(Tensor),
}

impl LossTerms {
    /// The values of a method's terms.
    ///
    /// # Errors
    /// When a term is not one number.
    pub fn of(terms: &[Term]) -> Result<Self> {
        Self::stacked(terms.iter().map(|term| (term.name, term.weight, &term.value)))
    }

    /// Values by name and weight, each a tensor of one number on one device.
    ///
    /// # Errors
    /// When a tensor is not one number.
    pub fn stacked<'a>(
        terms: impl Iterator<Item = (&'static str, f64, &'a Tensor)>,
    ) -> Result<Self> {
        let mut named = Vec::new();
        let mut scalars = Vec::new();
        for (name, weight, value) in terms {
            named.push((name, weight));
            scalars.push(value.detach().reshape(1)?.to_dtype(DType::F32)?);
        }
        let values = match scalars.first() {
            None => Values::Here(Vec::new()),
            Some(first) if first.device().is_cpu() => {
                Values::Here(Tensor::cat(&scalars, 0)?.to_vec1()?)
            }
            Some(_) => Values::There(Tensor::cat(&scalars, 0)?),
        };
        Ok(Self { terms: named, values })
    }

    /// Values that are known.
    pub fn known(values: &[TermValue]) -> Self {
        Self {
            terms: values.iter().map(|term| (term.name, term.weight)).collect(),
            values: Values::Here(values.iter().map(|term| term.value).collect()),
        }
    }

    /// Errors where a term that is here is not finite; those on a device are not looked at.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first such term.
    pub fn check(&self, draws: StepSeed) -> Result<()> {
        match &self.values {
            Values::Here(values) => check_finite(&self.with(values), draws),
            Values::There(_) => Ok(()),
        }
    }

    /// The numbers, read from the device where they are there.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(self) -> Result<Vec<TermValue>> {
        match &self.values {
            Values::Here(values) => Ok(self.with(values)),
            Values::There(values) => Ok(self.with(&values.to_vec1()?)),
        }
    }

    fn with(&self, values: &[f32]) -> Vec<TermValue> {
        let of = |(&(name, weight), &value)| TermValue { name, weight, value };
        self.terms.iter().zip(values).map(of).collect()
    }
}

/// Errors where a term is not finite.
///
/// # Errors
/// [`Error::NonFinite`] with the first such term.
pub fn check_finite(values: &[TermValue], draws: StepSeed) -> Result<()> {
    match values.iter().find(|term| !term.value.is_finite()) {
        Some(&TermValue { name, value, .. }) => Err(Error::NonFinite {
            term: name.to_owned(),
            value,
            epoch: draws.epoch + 1,
            step: draws.step + 1,
        }),
        None => Ok(()),
    }
}

/// The terms of steps that have been taken and whose numbers nobody has read yet.
#[derive(Default)]
pub(super) struct Unread {
    steps: Vec<(StepSeed, LossTerms)>,
}

/// After how many steps the numbers on an accelerator are read: a progress line says what is known
/// then, and a loss that stops being finite is found so many steps late at most.
const AT_ONCE: usize = 32;

impl Unread {
    /// Adds the terms of a step.
    pub(super) fn push(&mut self, draws: StepSeed, terms: LossTerms) {
        self.steps.push((draws, terms));
    }

    /// Whether it is time to read them.
    pub(super) fn is_due(&self, device: &Device) -> bool {
        device.is_cpu() || self.steps.len() >= AT_ONCE
    }

    /// The numbers of all steps, in their order, in one read.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first term that is not finite, and when they cannot be read.
    pub(super) fn read(&mut self) -> Result<Vec<Vec<TermValue>>> {
        let steps = std::mem::take(&mut self.steps);
        let there: Vec<&Tensor> = steps
            .iter()
            .filter_map(|(_, terms)| match &terms.values {
                Values::There(values) => Some(values),
                Values::Here(_) => None,
            })
            .collect();
        let mut read = match there.as_slice() {
            [] => Vec::new(),
            there => Tensor::cat(there, 0)?.to_vec1::<f32>()?,
        }
        .into_iter();
        let mut all = Vec::with_capacity(steps.len());
        for (draws, terms) in &steps {
            let values = match &terms.values {
                Values::Here(values) => terms.with(values),
                Values::There(_) => {
                    terms.with(&read.by_ref().take(terms.terms.len()).collect::<Vec<_>>())
                }
            };
            check_finite(&values, *draws)?;
            all.push(values);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    fn draws(step: usize) -> StepSeed {
        StepSeed { seed: Seed(1), epoch: 2, step }
    }

    /// As on an accelerator: the numbers are not here.
    fn there(values: &[f32]) -> LossTerms {
        let names = ["hard", "soft"];
        LossTerms {
            terms: (0..values.len()).map(|i| (names[i], 0.5)).collect(),
            values: Values::There(Tensor::new(values, &Device::Cpu).unwrap()),
        }
    }

    #[test]
    fn numbers_of_several_steps_are_read_together_in_their_order() {
        let mut unread = Unread::default();
        let known = [TermValue { name: "hard", weight: 1., value: 7. }];
        unread.push(draws(0), there(&[1., 2.]));
        unread.push(draws(1), LossTerms::known(&known));
        unread.push(draws(2), there(&[3.]));
        let read = unread.read().unwrap();
        let values: Vec<Vec<f32>> =
            read.iter().map(|terms| terms.iter().map(|term| term.value).collect()).collect();
        assert_eq!(values, [vec![1., 2.], vec![7.], vec![3.]]);
        assert_eq!(read[0][1], TermValue { name: "soft", weight: 0.5, value: 2. });
        assert!(unread.read().unwrap().is_empty());
    }

    #[test]
    fn a_number_that_is_not_finite_is_named_with_its_own_step_however_late_it_is_read() {
        let mut unread = Unread::default();
        unread.push(draws(4), there(&[1., 2.]));
        unread.push(draws(5), there(&[1., f32::NAN]));
        unread.push(draws(6), there(&[f32::NAN, f32::NAN]));
        match unread.read() {
            Err(Error::NonFinite { term, epoch: 3, step: 6, .. }) if term == "soft" => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_on_the_cpu_are_due_at_once() {
        let mut unread = Unread::default();
        unread.push(draws(0), there(&[1.]));
        assert!(unread.is_due(&Device::Cpu));
        let here = LossTerms::stacked(
            [("hard", 1., &Tensor::new(f64::NAN, &Device::Cpu).unwrap())].into_iter(),
        );
        assert!(matches!(here.unwrap().check(draws(0)), Err(Error::NonFinite { .. })));
    }
}
