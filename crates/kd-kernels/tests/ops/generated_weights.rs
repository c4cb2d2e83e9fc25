//! The ops that compute a student's weights from its teacher's against their twins, finite
//! differences, and themselves on other numbers of threads.

use crate::common::flat;
use crate::common::graph::{
    assert_finite_differences, assert_threads, assert_twins, distance, passes, random,
};
use candle_core::{DType, Device, Tensor, Var};
use kd_kernels::multiply_add::{self, multiply_add, tanh_multiply_add};
use kd_kernels::weighted_sum::{self, weighted_sum};
use proptest::prelude::*;

/// The same values as `t` of rank 2: contiguous, cut out of a wider tensor, or transposed.
fn laid_out(t: &Tensor, how: usize) -> Tensor {
    match how % 3 {
        0 => t.clone(),
        1 => Tensor::cat(&[t, t], 1)
            .unwrap()
            .narrow(1, t.dim(1).unwrap(), t.dim(1).unwrap())
            .unwrap(),
        _ => t.t().unwrap().contiguous().unwrap().t().unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn scale_and_shift_agree_with_their_twins(seed: u64, rows in 1usize..40, cols in 1usize..70, how in 0usize..27) {
        let inputs = [0, 1, 2].map(|i| random(seed ^ i, &[rows, cols]));
        let view = |t: &[Tensor]| [0, 1, 2].map(|i| laid_out(&t[i], how / 3usize.pow(i as u32)));
        let f = |t: &[Tensor]| {
            let [x, w, b] = view(t);
            multiply_add(&x, &w, &b)
        };
        assert_twins(&inputs, 1e-6, f, |t| multiply_add::reference::multiply_add(&t[0], &t[1], &t[2]));
        let f = |t: &[Tensor]| {
            let [x, w, b] = view(t);
            tanh_multiply_add(&x, &w, &b)
        };
        assert_twins(&inputs, 2e-6, f, |t| multiply_add::reference::tanh_multiply_add(&t[0], &t[1], &t[2]));
    }

    #[test]
    fn the_weighted_sum_agrees_with_its_twin(seed: u64, k in 1usize..8, n in 1usize..300, how in 0usize..3) {
        let inputs = [random(seed, &[k, n]), random(seed ^ 1, &[k])];
        let f = |t: &[Tensor]| weighted_sum(&laid_out(&t[0], how), &t[1]);
        let twin = |t: &[Tensor]| weighted_sum::reference::weighted_sum(&t[0], &t[1]);
        let (got, want) = (passes(&inputs, DType::F32, f), passes(&inputs, DType::F64, twin));
        prop_assert!(distance(&got[0], &want[0]) <= 1e-5 && distance(&got[1], &want[1]) <= 1e-5);
        // A sum of n products of normal numbers, which may be near 0 by chance.
        crate::common::assert_close(&flat(&got[2]), &flat(&want[2]), 1e-5 * (n as f64).sqrt(), 1e-5, "gradient of the weights");
    }
}

#[test]
fn gradients_of_the_twins_are_finite_differences() {
    let three = [1, 2, 3].map(|seed| random(seed, &[3, 4]));
    assert_finite_differences(&three, |t| {
        multiply_add::reference::multiply_add(&t[0], &t[1], &t[2])
    });
    assert_finite_differences(&three, |t| {
        multiply_add::reference::tanh_multiply_add(&t[0], &t[1], &t[2])
    });
    assert_finite_differences(&[random(4, &[3, 2, 5]), random(5, &[3])], |t| {
        weighted_sum::reference::weighted_sum(&t[0], &t[1])
    });
}

#[test]
fn constants_get_no_gradient_and_leave_the_others_theirs() {
    let [x, scale, shift] = [1, 2, 3].map(|seed| random(seed, &[7, 5]));
    let (scale, shift) = (Var::from_tensor(&scale).unwrap(), Var::from_tensor(&shift).unwrap());
    let y = multiply_add(&x, &scale, &shift).unwrap();
    let grads = kd_kernels::backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(flat(grads.get(&scale).unwrap()), flat(&x));
    assert_eq!(flat(grads.get(&shift).unwrap()), [1.0; 35]);
    let (layers, weights) = (random(4, &[3, 6]), Var::from_tensor(&random(5, &[3])).unwrap());
    let grads =
        kd_kernels::backward(&weighted_sum(&layers, &weights).unwrap().sum_all().unwrap()).unwrap();
    let (got, want) = (flat(grads.get(&weights).unwrap()), flat(&layers.sum(1).unwrap()));
    assert!(
        got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5),
        "got {got:?}, expected {want:?}"
    );
}

#[test]
fn values_by_hand() {
    let t = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let activated =
        tanh_multiply_add(&t(&[0.0, 50.0, -50.0]), &t(&[3.0, 3.0, 3.0]), &t(&[1.0, 1.0, 1.0]))
            .unwrap();
    assert_eq!(flat(&activated), [1.0, 4.0, -2.0]);
    let layers = Tensor::new(&[[[1f32, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]], &Device::Cpu).unwrap();
    let mixed = weighted_sum(&layers, &t(&[1.0, 0.0, -1.0])).unwrap();
    assert_eq!((mixed.dims(), flat(&mixed)), (&[1usize, 2][..], vec![-4.0, -4.0]));
}

#[test]
fn results_do_not_depend_on_threads() {
    let three = [1, 2, 3].map(|seed| random(seed, &[257, 301]));
    assert_threads(&three, |t| multiply_add(&t[0], &t[1], &t[2]));
    assert_threads(&three, |t| tanh_multiply_add(&t[0], &t[1], &t[2]));
    assert_threads(&[random(4, &[5, 257, 301]), random(5, &[5])], |t| weighted_sum(&t[0], &t[1]));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let (x, row) = (random(1, &[2, 3]), random(2, &[3]));
    let says = |result: candle_core::Result<Tensor>, what: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    says(
        multiply_add(&x, &row, &x),
        "multiply_add: scale has shape [3], expected that of x, [2, 3]",
    );
    says(
        tanh_multiply_add(&x, &x, &row),
        "tanh_multiply_add: shift has shape [3], expected that of x, [2, 3]",
    );
    says(
        weighted_sum(&x, &row),
        "weighted_sum: expected xs [k, ..] and weights [k] with k >= 1, got [2, 3] and [3]",
    );
    says(
        weighted_sum(&x.narrow(0, 0, 0).unwrap(), &row.narrow(0, 0, 0).unwrap()),
        "k >= 1, got [0, 3] and [0]",
    );
}
