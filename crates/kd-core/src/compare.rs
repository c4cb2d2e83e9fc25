//! A student beside its teacher: accuracy, agreement, calibration, size and speed of any two saved
//! networks.

use std::ops::Range;
use std::time::Instant;

use candle_core::{Device, Tensor};

use crate::frozen::Saved;
use crate::train::evaluate::{Errors, largest, predict};
use crate::{Error, Result};

/// How many confidence bins the calibration error has.
pub const CALIBRATION_BINS: usize = 15;

/// What is measured of one network.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its errors, by true class.
    pub errors: Errors,
    /// Expected calibration error; see [`calibration_error`].
    pub calibration_error: f64,
    /// Numbers in its parameters.
    pub parameters: usize,
    /// Multiply-adds of one example.
    pub multiply_adds: u64,
    /// Median time of a forward pass of one example, in milliseconds.
    pub latency_one_ms: f64,
    /// Median time of a forward pass of [`LATENCY_BATCH`] examples, in milliseconds.
    pub latency_batch_ms: f64,
}

/// Examples in the larger of the two timed batches.
pub const LATENCY_BATCH: usize = 100;

/// Two networks on the same examples.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The first network.
    pub teacher: Report,
    /// The second.
    pub student: Report,
    /// Share of the examples on which both name the same class, right or wrong.
    pub agreement: f64,
}

/// Compares two networks on labelled inputs `[n, …]`.
///
/// # Errors
/// Bad input when there are no examples or the networks tell apart different numbers of classes.
pub fn compare(
    teacher: &Saved,
    student: &Saved,
    inputs: &Tensor,
    labels: &[u8],
    device: &Device,
) -> Result<Comparison> {
    let (t, s) = (teacher.network.model().classes(), student.network.model().classes());
    if t != s {
        return Err(Error::bad_input(format!(
            "the networks tell apart different classes: {t} and {s}"
        )));
    }
    if labels.is_empty() {
        return Err(Error::bad_input("comparing needs at least 1 example, got 0"));
    }
    let rows =
        |rows: Range<usize>| Ok(inputs.narrow(0, rows.start, rows.len())?.to_device(device)?);
    let logits = |saved: &Saved| predict(saved.network.model(), labels.len(), 500, rows);
    let (a, b) = (logits(teacher)?, logits(student)?);
    let classes = |l: &Tensor| {
        Ok::<_, Error>(l.to_vec2::<f32>()?.iter().map(|r| largest(r)).collect::<Vec<_>>())
    };
    let same = classes(&a)?.iter().zip(classes(&b)?).filter(|(x, y)| **x == *y).count();
    Ok(Comparison {
        teacher: report(teacher, &a, inputs, labels, device)?,
        student: report(student, &b, inputs, labels, device)?,
        agreement: same as f64 / labels.len() as f64,
    })
}

fn report(
    saved: &Saved,
    logits: &Tensor,
    inputs: &Tensor,
    labels: &[u8],
    device: &Device,
) -> Result<Report> {
    Ok(Report {
        errors: Errors::count(logits, labels)?,
        calibration_error: calibration_error(logits, labels)?,
        parameters: saved.parameters,
        multiply_adds: saved.network.model().multiply_adds(),
        latency_one_ms: latency(saved, &inputs.narrow(0, 0, 1)?, device)?,
        latency_batch_ms: latency(
            saved,
            &inputs.narrow(0, 0, LATENCY_BATCH.min(labels.len()))?,
            device,
        )?,
    })
}

/// Median of thirty forward passes after three that do not count, in milliseconds, the copy of the
/// logits to the host included.
fn latency(saved: &Saved, inputs: &Tensor, device: &Device) -> Result<f64> {
    let inputs = inputs.to_device(device)?;
    let mut times = Vec::with_capacity(30);
    for i in 0..33 {
        let started = Instant::now();
        saved.network.forward(&inputs, &[])?.logits.to_device(&Device::Cpu)?;
        if i >= 3 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Expected calibration error (Guo et al. 2017): predictions are put into [`CALIBRATION_BINS`]
/// equal bins of confidence (the largest probability at T = 1); the result is `Σ_bins (n_bin/n) ·
/// |accuracy_bin − mean confidence_bin|`, in [0, 1].
///
/// # Errors
/// When `logits` is not a matrix of numbers.
pub fn calibration_error(logits: &Tensor, labels: &[u8]) -> Result<f64> {
    let probabilities = kd_kernels::softmax::softmax(logits)?.to_vec2::<f32>()?;
    let mut bins = [(0f64, 0f64, 0usize); CALIBRATION_BINS];
    for (row, &label) in probabilities.iter().zip(labels) {
        let class = largest(row);
        let confidence = f64::from(row[class]);
        let bin =
            &mut bins[((confidence * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)];
        bin.0 += confidence;
        bin.1 += f64::from(u8::from(class == usize::from(label)));
        bin.2 += 1;
    }
    let n = labels.len().max(1) as f64;
    Ok(bins.iter().filter(|b| b.2 > 0).map(|b| (b.0 - b.1).abs() / n).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_error_is_zero_when_confidence_is_accuracy_and_the_gap_otherwise() -> Result<()> {
        // Confidence 0.75 in class 0 (logit ln 3 against 0): right three times in four, then never.
        let rows: Vec<f32> = (0..4).flat_map(|_| [3f32.ln(), 0.]).collect();
        let logits = Tensor::from_vec(rows, (4, 2), &Device::Cpu)?;
        assert!(calibration_error(&logits, &[0, 0, 0, 1])? < 1e-6);
        assert!((calibration_error(&logits, &[1, 1, 1, 1])? - 0.75).abs() < 1e-6);
        Ok(())
    }
}
