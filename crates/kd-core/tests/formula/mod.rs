//! Numbers that a PyTorch program makes too (`scripts/oracles/cifar_networks.py`), and what that
//! program keeps of a tensor.
#![allow(dead_code)] // Each test binary uses its own part.

use candle_core::{DType, Device, Result, Tensor};
use sha2::{Digest, Sha256};

/// Numbers in [-1, 1) for one purpose: a hash of the index, of 32 bits, in integers.
pub fn noise(count: usize, purpose: &str, seed: usize) -> Vec<f64> {
    let digest = Sha256::digest(format!("{purpose}/{seed}"));
    let purpose = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let hash = |i: u32| {
        let mut h = i.wrapping_mul(0x9e37_79b1) ^ purpose;
        for (shift, factor) in [(16, 0x7feb_352d), (15, 0x846c_a68b)] {
            h = (h ^ (h >> shift)).wrapping_mul(factor);
        }
        f64::from(h ^ (h >> 16)) / 2f64.powi(31) - 1.
    };
    (0..count as u32).map(hash).collect()
}

/// The value of a parameter or running statistic.
pub fn value(name: &str, dims: &[usize]) -> Result<Tensor> {
    let (scale, shift) = match (dims, name.rsplit('.').next().unwrap_or_default()) {
        (&[_, c, h, w], _) => ((6. / (c * h * w) as f64).sqrt(), 0.),
        (&[_, features], _) => ((3. / features as f64).sqrt(), 0.),
        (_, "weight") => (0.3, 1.),
        (_, "running_var") => (0.5, 1.5),
        _ => (0.2, 0.),
    };
    let values: Vec<f32> = noise(dims.iter().product(), name, 0)
        .into_iter()
        .map(|u| (u * scale + shift) as f32)
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// Images of noise, `[batch, 3, 32, 32]`.
pub fn images(batch: usize, purpose: &str, seed: usize) -> Result<Tensor> {
    let values: Vec<f32> =
        noise(batch * 3 * 32 * 32, purpose, seed).into_iter().map(|u| (1.5 * u) as f32).collect();
    Tensor::from_vec(values, (batch, 3, 32, 32), &Device::Cpu)
}

/// The tensor's values, row-major.
pub fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// The products of a tensor with fixed vectors of noise, as many as asked for.
pub fn projections(values: &[f64], name: &str, count: usize) -> Vec<f64> {
    let product = |seed: usize| {
        noise(values.len(), name, seed + 1).iter().zip(values).map(|(u, v)| u * v).sum()
    };
    (0..count).map(product).collect()
}

/// The numbers of a JSON array.
pub fn numbers(json: &serde_json::Value) -> Vec<f64> {
    json.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}
