//! Evaluation: logits of a whole data set, and what follows from them.

use std::ops::Range;

use candle_core::{D, DType, Device, Tensor};

use crate::Result;
use crate::model::{Mode, Model};

/// Logits of `n` inputs in evaluation mode: `[n, classes]` on the CPU, detached.
///
/// `inputs(rows)` makes the network's input for a range of rows; it is asked for at most `chunk` at
/// a time, so that no more of a data set than that has to exist as floats.
///
/// # Errors
/// When the inputs do not fit the network.
pub fn predict(
    model: &dyn Model,
    n: usize,
    chunk: usize,
    inputs: impl Fn(Range<usize>) -> Result<Tensor>,
) -> Result<Tensor> {
    let chunk = chunk.max(1);
    let mut parts = Vec::with_capacity(n.div_ceil(chunk));
    for start in (0..n).step_by(chunk) {
        let rows = inputs(start..n.min(start + chunk))?;
        parts.push(
            model.forward(&rows, &[], Mode::Evaluate)?.logits.detach().to_device(&Device::Cpu)?,
        );
    }
    if parts.is_empty() {
        Ok(Tensor::zeros((0, model.classes()), DType::F32, &Device::Cpu)?)
    } else {
        Ok(Tensor::cat(&parts, 0)?)
    }
}

/// How many examples of each class a network gets wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// By true class.
    pub per_class: Vec<usize>,
    /// How many examples there were.
    pub of: usize,
}

impl Errors {
    /// Counts the rows of `logits` whose largest entry (the first of equals) is not at the label.
    ///
    /// # Errors
    /// When `logits` is not a matrix of numbers.
    pub fn count(logits: &Tensor, labels: &[u8]) -> Result<Self> {
        let classes = logits.dim(D::Minus1)?;
        let mut per_class =
            vec![0; classes.max(labels.iter().map(|&l| usize::from(l) + 1).max().unwrap_or(0))];
        for (row, &label) in logits.to_dtype(DType::F32)?.to_vec2::<f32>()?.iter().zip(labels) {
            if largest(row) != usize::from(label) {
                per_class[usize::from(label)] += 1;
            }
        }
        Ok(Self { per_class, of: labels.len() })
    }

    /// All errors.
    pub fn total(&self) -> usize {
        self.per_class.iter().sum()
    }

    /// Percent of the examples that are right; NaN where there are none.
    pub fn accuracy(&self) -> f64 {
        100. * (self.of as f64 - self.total() as f64) / self.of as f64
    }
}

/// Percent of the rows of `logits` whose label is among the `k` largest entries, the first of equals
/// first; NaN where there are no rows. With `k = 1` and no NaN it is [`Errors::accuracy`].
///
/// # Errors
/// When `logits` is not a matrix of numbers.
pub fn top_accuracy(logits: &Tensor, labels: &[u8], k: usize) -> Result<f64> {
    let rows = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let among = |&(row, &label): &(&Vec<f32>, &u8)| {
        let label = usize::from(label);
        let Some(own) = row.get(label) else { return false };
        let before = |(i, other): (usize, &f32)| other > own || (other == own && i < label);
        !own.is_nan()
            && row.iter().copied().enumerate().filter(|(i, v)| before((*i, v))).count() < k
    };
    let right = rows.iter().zip(labels).filter(among).count();
    Ok(100. * right as f64 / labels.len() as f64)
}

/// Where the largest value stands; of equal ones, the first.
pub fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

/// Counts a network's errors on labelled inputs `[n, …]`, `chunk` of them at a time.
///
/// # Errors
/// When `inputs` does not fit the network.
pub fn evaluate(
    model: &dyn Model,
    inputs: &Tensor,
    labels: &[u8],
    chunk: usize,
    device: &Device,
) -> Result<Errors> {
    let rows =
        |rows: Range<usize>| Ok(inputs.narrow(0, rows.start, rows.len())?.to_device(device)?);
    Errors::count(&predict(model, inputs.dim(0)?, chunk, rows)?, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_entries_count_and_the_first_of_equals_is_the_larger() -> Result<()> {
        let rows = [[3f32, 1., 2., 0.], [1., 1., 1., 1.], [f32::NAN, 0., 1., 2.]];
        let logits = Tensor::new(&rows, &Device::Cpu)?;
        let top = |labels: [u8; 3], k| top_accuracy(&logits, &labels, k);
        assert_eq!(top([0, 0, 3], 1)?, 100.);
        assert_eq!(top([2, 1, 2], 1)?, 0.);
        assert_eq!(top([2, 1, 2], 2)?, 100.);
        assert_eq!(top([1, 2, 0], 4)?, 100. * 2. / 3.);
        assert_eq!(top([9, 3, 1], 3)?, 100. / 3.);
        Ok(())
    }
}
