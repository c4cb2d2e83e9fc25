//! Facts: numbers about an example that are not its label, given to a network beside its input.

use candle_core::{Device, Tensor};

use crate::seed::StepSeed;
use crate::train::{Batch, Examples};
use crate::{Error, Result, Seed};

/// A vector of facts for every example of a data set, in the order of the examples. All numbers are
/// finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    names: Vec<String>,
    /// Row-major, `[examples, names.len()]`.
    values: Vec<f32>,
}

/// Mean and standard deviation of each fact over some examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardisation {
    means: Vec<f64>,
    /// 1 where a fact does not vary.
    deviations: Vec<f64>,
}

impl Facts {
    /// The facts of these names, one row for each example.
    ///
    /// # Errors
    /// Bad input when there is no name; when a row has another length, with the number of its
    /// example; when a fact is not finite, with its name too.
    pub fn new<R: AsRef<[f32]>>(
        names: Vec<String>,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Self> {
        if names.is_empty() {
            return Err(Error::bad_input("facts: expected at least 1 name, got 0"));
        }
        let mut values = Vec::new();
        for (example, row) in rows.into_iter().enumerate() {
            let row = row.as_ref();
            if row.len() != names.len() {
                return Err(Error::bad_input(format!(
                    "facts of example {example}: expected {} numbers, got {}",
                    names.len(),
                    row.len()
                )));
            }
            if let Some((name, value)) = names.iter().zip(row).find(|(_, v)| !v.is_finite()) {
                return Err(Error::bad_input(format!(
                    "fact {name} of example {example}: expected a finite number, got {value}"
                )));
            }
            values.extend_from_slice(row);
        }
        Ok(Self { names, values })
    }

    /// One fact for each group: 1 for the example's own, 0 for the others.
    ///
    /// # Errors
    /// Bad input when there is no group, or a label is not less than `groups`.
    pub fn one_hot(name: &str, labels: &[u8], groups: usize) -> Result<Self> {
        if let Some(label) = labels.iter().find(|&&label| usize::from(label) >= groups) {
            return Err(Error::bad_input(format!(
                "facts: {name}: expected less than {groups}, got {label}"
            )));
        }
        let names = (0..groups).map(|group| format!("{name}-{group}")).collect();
        let row = |&label: &u8| -> Vec<f32> {
            (0..groups).map(|group| f32::from(u8::from(group == usize::from(label)))).collect()
        };
        Self::new(names, labels.iter().map(row))
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Numbers of a fact vector.
    pub fn width(&self) -> usize {
        self.names.len()
    }

    /// How many examples have facts.
    pub fn len(&self) -> usize {
        self.values.len() / self.width()
    }

    /// Whether no example has.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The facts of one example.
    ///
    /// # Errors
    /// Bad input when there is no such example.
    pub fn row(&self, example: usize) -> Result<&[f32]> {
        let width = self.width();
        example
            .checked_mul(width)
            .and_then(|start| self.values.get(start..)?.get(..width))
            .ok_or_else(|| {
                let len = self.len();
                Error::bad_input(format!("facts: expected an example below {len}, got {example}"))
            })
    }

    /// The facts of these examples, `[examples, width]`.
    ///
    /// # Errors
    /// As [`Facts::row`].
    pub fn to_tensor(&self, examples: &[u32], device: &Device) -> Result<Tensor> {
        let mut values = Vec::with_capacity(examples.len() * self.width());
        for &example in examples {
            values.extend_from_slice(self.row(example as usize)?);
        }
        Ok(Tensor::from_vec(values, (examples.len(), self.width()), device)?)
    }

    /// The same facts, each with those of another example: a control. Who gets whose is drawn from
    /// the seed.
    #[must_use]
    pub fn shuffled(&self, seed: Seed) -> Self {
        let order = seed.stream("facts", 0, 0).permutation(self.len());
        let width = self.width();
        let values =
            order.iter().flat_map(|&from| &self.values[from * width..][..width]).copied().collect();
        Self { names: self.names.clone(), values }
    }

    /// Mean and standard deviation of each fact.
    pub fn standardisation(&self) -> Standardisation {
        let (width, n) = (self.width(), self.len().max(1) as f64);
        let mut means = vec![0f64; width];
        for row in self.values.chunks(width) {
            means.iter_mut().zip(row).for_each(|(mean, &v)| *mean += f64::from(v) / n);
        }
        let mut variances = vec![0f64; width];
        for row in self.values.chunks(width) {
            for ((variance, &v), mean) in variances.iter_mut().zip(row).zip(&means) {
                *variance += (f64::from(v) - mean).powi(2) / n;
            }
        }
        let deviation = |v: &f64| if *v > 1e-12 { v.sqrt() } else { 1. };
        Standardisation { deviations: variances.iter().map(deviation).collect(), means }
    }

    /// Each fact less its mean, divided by its deviation: those of the training images, for the
    /// test images too.
    ///
    /// # Errors
    /// Bad input when the facts are of another length.
    pub fn standardised(mut self, by: &Standardisation) -> Result<Self> {
        let width = self.width();
        if by.means.len() != width {
            return Err(Error::bad_input(format!(
                "facts: expected {} numbers, got {width}",
                by.means.len()
            )));
        }
        for row in self.values.chunks_mut(width) {
            for ((v, mean), deviation) in row.iter_mut().zip(&by.means).zip(&by.deviations) {
                *v = ((f64::from(*v) - mean) / deviation) as f32;
            }
        }
        Ok(self)
    }
}

/// Examples with their facts behind their inputs: `[batch, inputs + width]`, as
/// [`FactMlp`](crate::model::FactMlp) takes them. The facts are found by the examples' numbers in
/// the data set.
pub struct FactExamples<'a> {
    examples: &'a dyn Examples,
    facts: &'a Facts,
}

impl<'a> FactExamples<'a> {
    /// These examples, which are of a data set of `of` examples, with these facts of all of them.
    ///
    /// # Errors
    /// Bad input when there are facts of another number of examples.
    pub fn new(examples: &'a dyn Examples, facts: &'a Facts, of: usize) -> Result<Self> {
        if facts.len() != of {
            return Err(Error::bad_input(format!(
                "facts: expected those of {of} examples, got {}",
                facts.len()
            )));
        }
        Ok(Self { examples, facts })
    }
}

impl Examples for FactExamples<'_> {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn batch(&self, rows: &[u32], step: StepSeed, device: &Device) -> Result<Batch> {
        self.with_facts(self.examples.batch(rows, step, device)?, device)
    }

    fn plain(&self, rows: &[u32], device: &Device) -> Result<Batch> {
        self.with_facts(self.examples.plain(rows, device)?, device)
    }
}

impl FactExamples<'_> {
    fn with_facts(&self, batch: Batch, device: &Device) -> Result<Batch> {
        let facts = self.facts.to_tensor(&batch.numbers, device)?;
        Ok(Batch { inputs: Tensor::cat(&[&batch.inputs, &facts], 1)?, ..batch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageExamples, LabelledImages};

    fn names(n: usize) -> Vec<String> {
        ["holes", "slant", "ink"].into_iter().take(n).map(str::to_owned).collect()
    }

    fn facts(rows: &[[f32; 2]]) -> Facts {
        Facts::new(names(2), rows).expect("facts")
    }

    #[test]
    fn a_vector_of_another_length_or_with_a_number_that_is_not_finite_is_refused_by_name() {
        let of = |rows: &[Vec<f32>]| Facts::new(names(2), rows).expect_err("a refusal").to_string();
        let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for (value, text) in bad.into_iter().zip(["NaN", "inf", "-inf"]) {
            assert_eq!(
                of(&[vec![0., 1.], vec![2., value]]),
                format!("fact slant of example 1: expected a finite number, got {text}")
            );
        }
        for row in [vec![], vec![1.], vec![1., 2., 3.]] {
            let n = row.len();
            assert_eq!(
                of(&[vec![0., 1.], row]),
                format!("facts of example 1: expected 2 numbers, got {n}")
            );
        }
        assert!(Facts::new(Vec::new(), [[0f32; 0]]).expect_err("no name").is_bad_input());
        let text = Facts::one_hot("superclass", &[0, 5], 5).expect_err("too large").to_string();
        assert_eq!(text, "facts: superclass: expected less than 5, got 5");
    }

    #[test]
    fn standardised_facts_have_mean_0_and_deviation_1_and_constant_ones_are_0() -> Result<()> {
        let train = facts(&[[1., 7.], [3., 7.], [5., 7.]]);
        let by = train.standardisation();
        let made = train.standardised(&by)?;
        let first: Vec<f64> = made.values.iter().step_by(2).map(|&v| f64::from(v)).collect();
        assert!(first.iter().sum::<f64>().abs() < 1e-6);
        assert!((first.iter().map(|v| v * v).sum::<f64>() / 3. - 1.).abs() < 1e-6);
        assert!(made.values.iter().skip(1).step_by(2).all(|&v| v == 0.));
        // The test images are measured by the training images.
        assert!((facts(&[[3., 8.]]).standardised(&by)?.row(0)?[1] - 1.).abs() < 1e-6);
        assert!(Facts::new(names(3), [[1f32; 3]])?.standardised(&by).is_err());
        Ok(())
    }

    #[test]
    fn shuffled_facts_are_the_same_rows_elsewhere() {
        let rows: Vec<[f32; 2]> = (0..50).map(|i| [i as f32, -(i as f32)]).collect();
        let (whole, other) = (facts(&rows), facts(&rows).shuffled(Seed(1)));
        assert_ne!(whole, other);
        assert_eq!(other, whole.shuffled(Seed(1)));
        let mut back: Vec<[f32; 2]> = other.values.chunks(2).map(|r| [r[0], r[1]]).collect();
        back.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert_eq!(back, rows);
    }

    #[test]
    fn a_batch_has_the_facts_of_its_own_examples_behind_its_inputs() -> Result<()> {
        let images = LabelledImages::grey(vec![0, 51, 102, 255], vec![2, 0, 1, 1], 1, 1, 3);
        let plain =
            ImageExamples { images: &images, rows: vec![3, 1, 0], jitter: 0, teacher_logits: None };
        let facts = facts(&[[0., 1.], [2., 3.], [4., 5.], [6., 7.]]);
        let examples = FactExamples::new(&plain, &facts, images.len())?;
        let step = StepSeed { seed: Seed(1), epoch: 0, step: 0 };
        let batch = examples.batch(&[0, 2], step, &Device::Cpu)?;
        assert_eq!(batch.inputs.to_vec2::<f32>()?, [[1., 6., 7.], [0., 0., 1.]]);
        assert_eq!(batch.labels.to_vec1::<u32>()?, [1, 2]);
        let Err(error) = FactExamples::new(&plain, &facts, 5) else { panic!("taken") };
        assert_eq!(error.to_string(), "facts: expected those of 5 examples, got 4");
        Ok(())
    }
}
