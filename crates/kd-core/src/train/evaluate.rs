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
