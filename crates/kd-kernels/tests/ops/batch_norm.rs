//! Batch normalisation against its twin and finite differences; running statistics; threads.

use crate::common::graph::{
    assert_finite_differences, assert_threads, assert_twins, distance, image_laid_out, random,
};
use candle_core::{DType, Device, Tensor, Var};
use kd_kernels::Activation;
use kd_kernels::batch_norm::{Running, Statistics, batch_norm, reference};
use proptest::prelude::*;

const EPS: f64 = 1e-5;

/// x, weight and bias, and a residual if asked for.
fn inputs(seed: u64, dims: &[usize], residual: bool) -> Vec<Tensor> {
    // A mean of 3 shows a variance that is taken as a difference of large squares.
    let x = ((random(seed, dims) * 2.0).unwrap() + 3.0).unwrap();
    let mut all = vec![x, random(seed ^ 1, &[dims[1]]), random(seed ^ 2, &[dims[1]])];
    all.extend(residual.then(|| random(seed ^ 3, dims)));
    all
}

fn act(relu: bool) -> Activation {
    if relu { Activation::Relu } else { Activation::None }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_modes_agree_with_the_twin(
        seed: u64, n in 2usize..5, c in 1usize..40, h in 3usize..10, w in 1usize..10, images: bool, residual: bool, relu: bool, how in 0usize..9,
    ) {
        let dims = if images { vec![n, c, h, w] } else { vec![n * h, c] };
        let values = if images { n * h * w } else { n * h };
        let inputs = inputs(seed, &dims, residual);
        let lay = |t: &Tensor, how: usize| if images { image_laid_out(t, how) } else { crate::common::laid_out(t, how) };
        let (mean, var) = (random(seed ^ 4, &[c]), random(seed ^ 5, &[c]).sqr().unwrap());
        let f = |t: &[Tensor], s: Statistics| {
            let r = t.get(3).map(|t| lay(t, how / 3));
            batch_norm(&lay(&t[0], how), &t[1], &t[2], EPS, s, r.as_ref(), act(relu))
        };
        let twin = |t: &[Tensor], s: Statistics| reference::batch_norm(&t[0], &t[1], &t[2], EPS, s, t.get(3), act(relu));
        // Of few values, some channel has a variance near 0 by chance, where any rounding of x is magnified.
        let tolerance = if values < 40 { 1e-3 } else { 2e-5 };
        // A value at the rectifier's kink may fall to either side.
        let y = twin(&inputs.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect::<Vec<_>>(), Statistics::Batch(None)).unwrap();
        let near = crate::common::flat(&y).iter().any(|y| *y != 0.0 && y.abs() < 1e-5);
        prop_assume!(!(relu && near));
        assert_twins(&inputs, tolerance, |t| f(t, Statistics::Batch(None)), |t| twin(t, Statistics::Batch(None)));
        let (mean64, var64) = (mean.to_dtype(DType::F64).unwrap(), var.to_dtype(DType::F64).unwrap());
        let stored = |t: &[Tensor]| f(t, Statistics::Stored { mean: &mean, var: &var });
        assert_twins(&inputs, 1e-4, stored, |t| twin(t, Statistics::Stored { mean: &mean64, var: &var64 }));
    }
}

#[test]
fn gradients_of_the_twin_are_finite_differences() {
    for residual in [false, true] {
        for relu in [false, true] {
            let inputs = inputs(8, &[3, 2, 2, 2], residual);
            let (mean, var) = (
                random(4, &[2]).to_dtype(DType::F64).unwrap(),
                Tensor::new(&[0.7, 1.9], &Device::Cpu).unwrap(),
            );
            for statistics in
                [Statistics::Batch(None), Statistics::Stored { mean: &mean, var: &var }]
            {
                let twin = |t: &[Tensor]| {
                    reference::batch_norm(&t[0], &t[1], &t[2], EPS, statistics, t.get(3), act(relu))
                };
                assert_finite_differences(&inputs, twin);
            }
        }
    }
}

#[test]
fn running_statistics_move_in_place_with_the_unbiased_variance() {
    let x = Tensor::new(&[[1f32, 10.0], [3.0, 10.0], [8.0, 40.0]], &Device::Cpu).unwrap();
    let ones = Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
    for f in [batch_norm, reference::batch_norm] {
        let (mean, var) = (
            Var::new(&[1f32, 2.0], &Device::Cpu).unwrap(),
            Var::new(&[4f32, 5.0], &Device::Cpu).unwrap(),
        );
        let running = Running { mean: &mean, var: &var, momentum: 0.25 };
        f(&x, &ones, &ones, EPS, Statistics::Batch(Some(running)), None, Activation::None).unwrap();
        // Means 4 and 20; unbiased variances 13 and 300.
        assert_eq!(mean.to_vec1::<f32>().unwrap(), [1.75, 6.5]);
        assert_eq!(var.to_vec1::<f32>().unwrap(), [6.25, 78.75]);
    }
}

#[test]
fn batch_statistics_leave_mean_0_and_variance_1() {
    let x = ((random(1, &[7, 5, 6, 9]) * 0.01).unwrap() + 10.0).unwrap();
    let (one, zero) = (
        Tensor::ones(5, DType::F32, &Device::Cpu).unwrap(),
        Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap(),
    );
    let y =
        batch_norm(&x, &one, &zero, 0.0, Statistics::Batch(None), None, Activation::None).unwrap();
    let y = y.to_dtype(DType::F64).unwrap();
    assert!(distance(&y.mean((0, 2, 3)).unwrap().affine(1.0, 1.0).unwrap(), &one) < 1e-3);
    assert!(distance(&y.sqr().unwrap().mean((0, 2, 3)).unwrap(), &one) < 1e-3);
}

#[test]
fn results_do_not_depend_on_threads() {
    let inputs = inputs(1, &[9, 37, 14, 15], true);
    let (mean, var) = (random(4, &[37]), random(5, &[37]).sqr().unwrap());
    for statistics in [Statistics::Batch(None), Statistics::Stored { mean: &mean, var: &var }] {
        assert_threads(&inputs, |t| {
            batch_norm(&t[0], &t[1], &t[2], EPS, statistics, Some(&t[3]), Activation::Relu)
        });
        assert_threads(&inputs[..3], |t| {
            batch_norm(&t[0], &t[1], &t[2], EPS, statistics, None, Activation::None)
        });
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let t = inputs(1, &[2, 3, 4, 5], false);
    let says = |x: &Tensor, w: &Tensor, s: Statistics, r: Option<&Tensor>, what: &str| {
        let error = batch_norm(x, w, &t[2], EPS, s, r, Activation::None).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let batch = Statistics::Batch(None);
    says(&t[1], &t[1], batch, None, "batch_norm: x has shape [3], expected [n, c, h, w] or [n, c]");
    says(&t[0], &t[0], batch, None, "batch_norm: weight has shape [2, 3, 4, 5], expected [3]");
    says(&t[0], &t[1], batch, Some(&t[1]), "batch_norm: residual has shape [3]");
    says(
        &t[1].reshape((1, 3)).unwrap(),
        &t[1],
        batch,
        None,
        "expected at least 2 values a channel",
    );
    let running = Running { mean: &t[1], var: &t[1], momentum: 0.1 };
    says(
        &t[0],
        &t[1],
        Statistics::Batch(Some(running)),
        None,
        "expected running statistics that are variables",
    );
    says(
        &t[0],
        &t[1],
        Statistics::Stored { mean: &t[0], var: &t[1] },
        None,
        "batch_norm: mean has shape",
    );
}
