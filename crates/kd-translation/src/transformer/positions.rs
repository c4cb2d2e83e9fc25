//! Sinusoidal positions.

use candle_core::{Device, Tensor};

use kd_core::Result;

/// P\[t, i\] = sin(t/ω_i) for i < d/2 and cos(t/ω_{i − d/2}) for the others, with ω_j =
/// 10000^{j/(d/2 − 1)}: `[length, d]` in f32.
///
/// The order (all sines, then all cosines) and the exponent are fairseq's; Vaswani et al. 2017,
/// section 3.5, interleave them and divide by d/2. Positions count from 0.
///
/// # Errors
/// When the tensor cannot be made on the device.
pub fn sinusoidal(length: usize, width: usize, device: &Device) -> Result<Tensor> {
    let half = width / 2;
    let rate = |j: usize| (-(10_000f64.ln()) * j as f64 / (half.max(2) - 1) as f64).exp();
    let row = |t: usize| {
        let angle = move |j: usize| t as f64 * rate(j);
        (0..half)
            .map(move |j| angle(j).sin() as f32)
            .chain((0..half).map(move |j| angle(j).cos() as f32))
    };
    let values: Vec<f32> = (0..length).flat_map(row).collect();
    Ok(Tensor::from_vec(values, (length, 2 * half), device)?)
}
