//! The ops on sequences against their twins, finite differences, and themselves on other numbers of
//! threads.

mod laws;
mod twins;

use candle_core::{Device, Tensor};
use kd_kernels::dropout::Dropout;
use kd_kernels::stream::Stream;
use proptest::prelude::*;

/// The same values as `t` of rank 3, laid out in one of four ways: contiguous, cut out of a longer
/// cache, cut out of a wider tensor, transposed.
pub(super) fn laid_out(t: &Tensor, how: usize) -> Tensor {
    let (b, n, d) = t.dims3().unwrap();
    let out = match how % 4 {
        0 => t.clone(),
        1 => Tensor::cat(&[t, t], 1).unwrap().narrow(1, n, n).unwrap(),
        2 => Tensor::cat(&[t, t, t], 2).unwrap().narrow(2, d, d).unwrap(),
        _ => t.transpose(1, 2).unwrap().contiguous().unwrap().transpose(1, 2).unwrap(),
    };
    assert_eq!(out.dims(), [b, n, d]);
    out
}

pub(super) fn drop_of(seed: u64, p: f64) -> Option<Dropout> {
    (p > 0.0).then_some(Dropout { p, stream: Stream::new(seed, 3) })
}

/// Draws of 0 .. n.
pub(super) fn draws(seed: u64, count: usize, n: usize) -> Vec<u32> {
    (0..count as u64).map(|i| Stream::new(seed, 2).below(i, n as u64) as u32).collect()
}

pub(super) fn tensor(ids: Vec<u32>) -> Tensor {
    Tensor::new(ids, &Device::Cpu).unwrap()
}

pub(super) fn fractions() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 0.05f64..0.9]
}
