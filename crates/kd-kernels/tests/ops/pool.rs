//! Pooling against its twins and finite differences.

use crate::common::graph::{
    assert_finite_differences, assert_threads, assert_twins, image_laid_out, random,
};
use candle_core::{Device, Tensor, Var};
use kd_kernels::pool::{avg_pool2d, global_avg_pool, max_pool2d, reference};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pooling_agrees_with_its_twins(
        seed: u64, n in 1usize..3, c in 1usize..4, h in 1usize..14, w in 1usize..20, kernel in 1usize..5, stride in 1usize..4, padding in 0usize..3,
        count_include_pad: bool, how in 0usize..3,
    ) {
        prop_assume!(padding <= kernel / 2 && h + 2 * padding >= kernel && w + 2 * padding >= kernel);
        let x = [random(seed, &[n, c, h, w])];
        let laid_out = |t: &[Tensor]| image_laid_out(&t[0], how);
        assert_twins(&x, 1e-6, |t| max_pool2d(&laid_out(t), kernel, stride, padding), |t| reference::max_pool2d(&t[0], kernel, stride, padding));
        assert_twins(
            &x,
            1e-6,
            |t| avg_pool2d(&laid_out(t), kernel, stride, padding, count_include_pad),
            |t| reference::avg_pool2d(&t[0], kernel, stride, padding, count_include_pad),
        );
        // A mean away from 0, so that rounding is small beside it.
        let x = [(&x[0] + 3.0).unwrap()];
        assert_twins(&x, 1e-5, |t| global_avg_pool(&laid_out(t)), |t| reference::global_avg_pool(&t[0]));
    }
}

#[test]
fn gradients_of_the_twins_are_finite_differences() {
    let x = [random(1, &[2, 2, 5, 7])];
    for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1), (1, 2, 0)] {
        assert_finite_differences(&x, |t| reference::max_pool2d(&t[0], kernel, stride, padding));
        for include in [false, true] {
            assert_finite_differences(&x, |t| {
                reference::avg_pool2d(&t[0], kernel, stride, padding, include)
            });
        }
    }
    assert_finite_differences(&x, |t| reference::global_avg_pool(&t[0]));
}

#[test]
fn the_gradient_of_equal_maxima_goes_to_the_first() {
    let ones = Tensor::ones((1, 1, 2, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    for pool in [max_pool2d, reference::max_pool2d] {
        let x = Var::from_tensor(&ones).unwrap();
        let y = pool(&x, 2, 2, 0).unwrap().sum_all().unwrap();
        let grad = kd_kernels::backward(&y).unwrap().get(&x).unwrap().flatten_all().unwrap();
        assert_eq!(grad.to_vec1::<f32>().unwrap(), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn padding_does_not_win_over_negative_pixels() {
    let x = Tensor::full(-3f32, (1, 1, 3, 3), &Device::Cpu).unwrap();
    let y = max_pool2d(&x, 3, 2, 1).unwrap();
    assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [-3.0; 4]);
}

#[test]
fn nan_and_infinity_are_pooled_as_in_pytorch() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let x = Var::new(&[[[[nan, 1f32, -inf, -inf], [2.0, 3.0, -inf, -inf]]]], &Device::Cpu).unwrap();
    let y = max_pool2d(&x, 2, 2, 0).unwrap();
    let values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(values[0].is_nan() && values[1] == -inf);
    let grad = kd_kernels::backward(&y.sum_all().unwrap())
        .unwrap()
        .get(&x)
        .unwrap()
        .flatten_all()
        .unwrap();
    assert_eq!(grad.to_vec1::<f32>().unwrap(), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn results_do_not_depend_on_threads() {
    let x = [random(1, &[5, 18, 31, 33])];
    assert_threads(&x, |t| max_pool2d(&t[0], 3, 2, 1));
    assert_threads(&x, |t| max_pool2d(&t[0], 2, 2, 0));
    assert_threads(&x, |t| avg_pool2d(&t[0], 3, 2, 1, false));
    assert_threads(&x, |t| global_avg_pool(&t[0]));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let x = random(1, &[2, 3, 4, 5]);
    let says = |result: candle_core::Result<Tensor>, what: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    says(max_pool2d(&x, 0, 1, 0), "max_pool2d: expected kernel, stride >= 1");
    says(max_pool2d(&x, 2, 1, 2), "padding <= kernel / 2, got kernel 2, stride 1, padding 2");
    says(
        avg_pool2d(&x, 5, 1, 0, true),
        "avg_pool2d: a kernel of 5x5 does not fit in 4x5 with padding 0",
    );
    says(avg_pool2d(&x.flatten_all().unwrap(), 1, 1, 0, true), "avg_pool2d: x has shape [120]");
    says(global_avg_pool(&x.narrow(3, 0, 0).unwrap()), "global_avg_pool: x has shape [2, 3, 4, 0]");
}
