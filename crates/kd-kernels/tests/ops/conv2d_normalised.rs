//! A convolution with its batch-norm folded in, against the two ops one after the other.

use crate::common::{assert_close, bits, conv2d_precise, flat, wave32};
use candle_core::{DType, Device, Result, Tensor, Var};
use kd_kernels::Activation;
use kd_kernels::batch_norm::{Statistics, batch_norm};
use kd_kernels::conv2d::{Geometry, Precision, StoredNorm, conv2d_normalised, reference};

/// The parameters and statistics of a batch-norm of some channels; variances are positive.
struct Norm([Tensor; 4]);

impl Norm {
    fn of(channels: usize) -> Self {
        let vector = |a, b| wave32(&[channels], 1.0, a, b);
        let positive = (vector(1.3, 0.4) + 1.1).unwrap();
        Self([vector(0.7, 0.1), vector(0.3, 2.0), vector(1.9, 0.3), positive])
    }

    fn stored(&self) -> StoredNorm<'_> {
        let [weight, bias, mean, var] = &self.0;
        StoredNorm { weight, bias, mean, var, eps: 1e-5 }
    }

    /// The two ops that the folded one stands for.
    fn unfolded(&self, z: &Tensor, residual: Option<&Tensor>, act: Activation) -> Result<Tensor> {
        let [weight, bias, mean, var] = &self.0;
        batch_norm(z, weight, bias, 1e-5, Statistics::Stored { mean, var }, residual, act)
    }
}

/// in, out, height, kernel, geometry: Winograd's tiles, the implicit product with stride 2 and
/// with one pixel, groups, and channels by themselves.
fn cases() -> Vec<(usize, usize, usize, usize, Geometry)> {
    let geometry = |stride, padding, groups| Geometry { stride, padding, groups };
    vec![
        (5, 9, 32, 3, geometry(1, 1, 1)),
        (16, 16, 7, 3, geometry(1, 1, 1)),
        (3, 20, 9, 3, geometry(2, 1, 1)),
        (12, 30, 8, 1, geometry(1, 0, 1)),
        (12, 30, 8, 1, geometry(2, 0, 3)),
        (7, 7, 8, 3, geometry(1, 1, 7)),
        (7, 7, 9, 3, geometry(2, 1, 7)),
    ]
}

#[test]
fn the_folded_convolution_is_the_convolution_and_its_batch_norm() {
    for (cin, cout, side, kernel, geometry) in cases() {
        let x = wave32(&[5, cin, side, side], 1.0, 0.31, 0.2);
        let w = wave32(&[cout, cin / geometry.groups, kernel, kernel], 0.4, 0.83, 0.1);
        let norm = Norm::of(cout);
        let z = conv2d_precise(&x, &w, None, geometry).unwrap();
        let residual = wave32(z.dims(), 1.0, 0.57, 0.9);
        for residual in [None, Some(&residual)] {
            for act in [Activation::None, Activation::Relu] {
                let want = flat(&norm.unfolded(&z, residual, act).unwrap());
                let size = want.iter().fold(0f64, |m, v| m.max(v.abs()));
                let what = format!("{cin} > {cout}, {geometry:?}, {act:?}");
                for (precision, tolerance) in [(Precision::Precise, 3e-6), (Precision::Fast, 2e-5)]
                {
                    let stored = norm.stored();
                    let y = conv2d_normalised(&x, &w, stored, residual, act, geometry, precision);
                    assert_close(&flat(&y.unwrap()), &want, tolerance * size, 0.0, &what);
                }
                let twin =
                    reference::conv2d_normalised(&x, &w, norm.stored(), residual, act, geometry);
                assert_close(&flat(&twin.unwrap()), &want, 3e-6 * size, 0.0, &what);
            }
        }
    }
}

#[test]
fn the_folded_convolution_is_a_constant_even_of_variables() {
    let x = Var::from_tensor(&wave32(&[2, 3, 8, 8], 1.0, 0.31, 0.2)).unwrap();
    let w = Var::from_tensor(&wave32(&[4, 3, 3, 3], 1.0, 0.83, 0.1)).unwrap();
    let norm = Norm::of(4);
    let geometry = Geometry { stride: 1, padding: 1, groups: 1 };
    let (act, precise) = (Activation::None, Precision::Precise);
    let y = conv2d_normalised(&x, &w, norm.stored(), None, act, geometry, precise).unwrap();
    let twin = reference::conv2d_normalised(&x, &w, norm.stored(), None, act, geometry).unwrap();
    assert!(!y.track_op() && !twin.track_op());
}

#[test]
fn nan_passes_the_activation_of_a_folded_convolution() {
    let geometry = Geometry { stride: 1, padding: 0, groups: 1 };
    for (side, kernel, padding) in [(4, 1, 0), (8, 3, 1)] {
        let x = (wave32(&[1, 4, side, side], 1.0, 0.31, 0.2) * f64::NAN).unwrap();
        let w = wave32(&[4, 4, kernel, kernel], 1.0, 0.83, 0.1);
        let geometry = Geometry { padding, ..geometry };
        let norm = Norm::of(4);
        let (act, precise) = (Activation::Relu, Precision::Precise);
        let y = conv2d_normalised(&x, &w, norm.stored(), None, act, geometry, precise).unwrap();
        assert!(flat(&y).iter().all(|v| v.is_nan()), "kernel {kernel}");
    }
}

#[test]
fn each_image_of_a_folded_convolution_has_the_bits_that_it_has_alone() {
    let geometry = Geometry { stride: 2, padding: 1, groups: 1 };
    let x = wave32(&[6, 5, 8, 8], 1.0, 0.31, 0.2);
    let w = wave32(&[9, 5, 3, 3], 1.0, 0.83, 0.1);
    let (norm, act, precise) = (Norm::of(9), Activation::Relu, Precision::Precise);
    let all = conv2d_normalised(&x, &w, norm.stored(), None, act, geometry, precise).unwrap();
    for i in 0..6 {
        let one = x.narrow(0, i, 1).unwrap();
        let one = conv2d_normalised(&one, &w, norm.stored(), None, act, geometry, precise).unwrap();
        assert_eq!(bits(&one), bits(&all.narrow(0, i, 1).unwrap()), "image {i}");
    }
}

#[test]
fn what_does_not_fit_a_folded_convolution_is_refused_by_name() {
    let x = wave32(&[2, 3, 8, 8], 1.0, 0.31, 0.2);
    let w = wave32(&[4, 3, 3, 3], 1.0, 0.83, 0.1);
    let geometry = Geometry { stride: 1, padding: 1, groups: 1 };
    let (right, wrong) = (Norm::of(4), Norm::of(5));
    let call = |norm: StoredNorm, residual: Option<&Tensor>| {
        let (act, precise) = (Activation::None, Precision::Precise);
        conv2d_normalised(&x, &w, norm, residual, act, geometry, precise).unwrap_err().to_string()
    };
    let mean = StoredNorm { mean: &wrong.0[2], ..right.stored() };
    assert!(call(mean, None).contains("mean has shape [5], expected [4]"));
    let residual = Tensor::zeros((2, 4, 8, 7), DType::F32, &Device::Cpu).unwrap();
    let message = call(right.stored(), Some(&residual));
    assert!(message.contains("residual has shape [2, 4, 8, 7], expected [2, 4, 8, 8]"));
}
