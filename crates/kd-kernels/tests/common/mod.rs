//! What the tests of this crate share: formula inputs, comparisons and odd strides.
#![allow(dead_code)] // Each test binary uses its own part.

pub mod every_op;
pub mod graph;

use candle_core::{DType, Device, Result, Tensor, Var};
use kd_kernels::conv2d::{self, Geometry, Precision};

/// scale·sin(a·i + b) over the row-major index i, in f64, as in the oracles' `g`.
pub fn wave(dims: &[usize], scale: f64, a: f64, b: f64) -> Tensor {
    let n = dims.iter().product::<usize>();
    let values: Vec<f64> = (0..n).map(|i| scale * (a * i as f64 + b).sin()).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// [`wave`] in f32.
pub fn wave32(dims: &[usize], scale: f64, a: f64, b: f64) -> Tensor {
    wave(dims, scale, a, b).to_dtype(DType::F32).unwrap()
}

/// [`conv2d::conv2d`] with direct sums and the smaller of Winograd's tiles.
pub fn conv2d_precise(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    geometry: Geometry,
) -> Result<Tensor> {
    conv2d::conv2d(x, w, b, geometry, Precision::Precise)
}

/// All values, row-major, as f64.
pub fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The bits of all values, for comparisons that allow no rounding.
pub fn bits(t: &Tensor) -> Vec<u32> {
    t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
}

/// Panics at the first |got − want| above `abs + rel·|want|`.
#[track_caller]
pub fn assert_close(got: &[f64], want: &[f64], abs: f64, rel: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= abs + rel * want.abs(),
            "{what}: at {i} got {got}, expected {want}"
        );
    }
}

/// The value and the gradient of Σ upstream ⊙ f(x).
pub fn value_and_grad(
    x: &Tensor,
    upstream: Option<&Tensor>,
    f: impl Fn(&Tensor) -> Result<Tensor>,
) -> (Tensor, Tensor) {
    let x = Var::from_tensor(&x.contiguous().unwrap()).unwrap();
    let y = f(&x).unwrap();
    let loss = match upstream {
        Some(up) => (&y * up).unwrap().sum_all().unwrap(),
        None => y.clone(),
    };
    let grad = loss.backward().unwrap().get(&x).unwrap().clone();
    (y, grad)
}

/// The same values as `t` of rank 2, laid out in one of four ways: contiguous, transposed, cut out
/// of a wider tensor, cut out of a taller one.
pub fn laid_out(t: &Tensor, how: usize) -> Tensor {
    let (r, c) = t.dims2().unwrap();
    let t = match how % 4 {
        0 => t.clone(),
        1 => t.t().unwrap().contiguous().unwrap().t().unwrap(),
        2 => Tensor::cat(&[t, t, t], 1).unwrap().narrow(1, c, c).unwrap(),
        _ => Tensor::cat(&[t, t], 0).unwrap().narrow(0, r, r).unwrap(),
    };
    assert_eq!(t.dims(), [r, c]);
    t
}
