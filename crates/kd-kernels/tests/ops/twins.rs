//! Each kernel against its twin from stock Candle ops, on random shapes, values and strides.

use crate::common::{assert_close, bits, flat, laid_out, value_and_grad};
use candle_core::{DType, Device, Tensor, Var};
use kd_kernels::adam::{AdamConfig, AdamState, Decay};
use kd_kernels::sgd::{SgdConfig, SgdState};
use kd_kernels::stream::Stream;
use kd_kernels::{cross_entropy, dropout, max_norm, softened_kl, softmax};
use proptest::prelude::*;

fn random(seed: u64, rows: usize, cols: usize, scale: f32) -> Tensor {
    let mut values = vec![0f32; rows * cols];
    Stream::new(seed, 1).fill_normal(0, &mut values);
    values.iter_mut().for_each(|x| *x *= scale);
    Tensor::from_vec(values, (rows, cols), &Device::Cpu).unwrap()
}

fn f64_of(t: &Tensor) -> Tensor {
    t.to_dtype(DType::F64).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn softmax_log_softmax_and_log_sum_exp(seed: u64, rows in 1usize..9, cols in 1usize..70, how in 0usize..4, scale in 0.1f32..20.0) {
        let (x, up) = (random(seed, rows, cols, scale), random(seed ^ 1, rows, cols, 1.0));
        let strided = laid_out(&x, how);
        prop_assert_eq!(bits(&softmax::softmax(&strided).unwrap()), bits(&softmax::softmax(&x).unwrap()));
        let (y, grad) = value_and_grad(&x, Some(&up), softmax::softmax);
        let (want_y, want_grad) = value_and_grad(&f64_of(&x), Some(&f64_of(&up)), softmax::reference::softmax);
        assert_close(&flat(&y), &flat(&want_y), 2e-6, 1e-6, "softmax");
        assert_close(&flat(&grad), &flat(&want_grad), 1e-5, 1e-6, "gradient of softmax");
        let (y, grad) = value_and_grad(&x, Some(&up), softmax::log_softmax);
        let (want_y, want_grad) = value_and_grad(&f64_of(&x), Some(&f64_of(&up)), softmax::reference::log_softmax);
        assert_close(&flat(&y), &flat(&want_y), 1e-5, 1e-6, "log_softmax");
        assert_close(&flat(&grad), &flat(&want_grad), 2e-5, 1e-5, "gradient of log_softmax");
        let up = random(seed ^ 1, 1, rows, 1.0).squeeze(0).unwrap();
        let (y, grad) = value_and_grad(&strided, Some(&up), softmax::log_sum_exp);
        let (want_y, want_grad) = value_and_grad(&f64_of(&x), Some(&f64_of(&up)), softmax::reference::log_sum_exp);
        assert_close(&flat(&y), &flat(&want_y), 1e-6, 1e-6, "log_sum_exp");
        assert_close(&flat(&grad), &flat(&want_grad), 2e-5, 1e-5, "gradient of log_sum_exp");
    }

    #[test]
    fn cross_entropy_of_any_layout(seed: u64, rows in 1usize..40, cols in 1usize..70, how in 0usize..4, scale in 0.1f32..20.0) {
        let z = random(seed, rows, cols, scale);
        let labels: Vec<u32> = (0..rows).map(|i| Stream::new(seed, 2).below(i as u64, cols as u64) as u32).collect();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        let (y, grad) = value_and_grad(&z, None, |z| cross_entropy::cross_entropy(&laid_out(z, how), &labels));
        let (want_y, want_grad) = value_and_grad(&f64_of(&z), None, |z| cross_entropy::reference::cross_entropy(z, &labels));
        assert_close(&flat(&y), &flat(&want_y), 1e-5, 1e-6, "value");
        assert_close(&flat(&grad), &flat(&want_grad), 1e-6, 1e-5, "gradient");
    }

    #[test]
    fn softened_kl_of_any_layout(seed: u64, rows in 1usize..40, cols in 1usize..70, how in 0usize..16, t in 0.5f64..25.0) {
        let (z, v) = (random(seed, rows, cols, 4.0), random(seed ^ 1, rows, cols, 5.0));
        let (z_how, v) = (how % 4, laid_out(&v, how / 4));
        let (y, grad) = value_and_grad(&z, None, |z| softened_kl::softened_kl(&laid_out(z, z_how), &v, t));
        let (want_y, want_grad) = value_and_grad(&f64_of(&z), None, |z| softened_kl::reference::softened_kl(z, &f64_of(&v), t));
        let eps = if kd_kernels::switch::kernels_enabled() { 1e-6 } else { 1e-6 * t * t };
        assert_close(&flat(&y), &flat(&want_y), eps, 1e-5, "value");
        assert_close(&flat(&grad), &flat(&want_grad), eps, 1e-5, "gradient");
    }

    #[test]
    fn dropout_of_any_layout(seed: u64, rows in 1usize..70, cols in 1usize..90, how in 0usize..4, p in 0.0f64..0.95) {
        let (x, up) = (random(seed, rows, cols, 1.0), random(seed ^ 1, rows, cols, 1.0));
        let stream = Stream::new(seed, 3);
        let strided = laid_out(&x, how);
        prop_assert_eq!(bits(&dropout::dropout(&strided, p, stream).unwrap()), bits(&dropout::dropout(&x, p, stream).unwrap()));
        let (y, grad) = value_and_grad(&x, Some(&up), |x| dropout::dropout(x, p, stream));
        let (want_y, want_grad) = value_and_grad(&x, Some(&up), |x| dropout::reference::dropout(x, p, stream));
        assert_close(&flat(&y), &flat(&want_y), 0.0, 3e-7, "value");
        assert_close(&flat(&grad), &flat(&want_grad), 0.0, 3e-7, "gradient");
    }

    #[test]
    fn max_norm_of_any_shape(seed: u64, rows in 1usize..40, cols in 1usize..70, cap in 0.1f64..12.0) {
        let w = random(seed, rows, cols, 1.0);
        let var = Var::from_tensor(&w).unwrap();
        max_norm::max_norm(&var, cap).unwrap();
        assert_close(&flat(&var), &flat(&max_norm::reference::max_norm(&f64_of(&w), cap).unwrap()), 1e-7, 1e-6, "weight");
    }

    #[test]
    fn sgd_over_three_steps(
        seed: u64, rows in 1usize..40, cols in 1usize..70, how in 0usize..4,
        momentum in prop_oneof![Just(0.0), Just(0.9)], nesterov: bool, decay in prop_oneof![Just(0.0), Just(0.01)],
        cap in prop_oneof![Just(None), Just(Some(2.0))],
    ) {
        let cfg = SgdConfig { lr: 0.1, momentum, nesterov: nesterov && momentum > 0.0, weight_decay: decay, max_norm: cap };
        let var = Var::from_tensor(&random(seed, rows, cols, 1.0)).unwrap();
        let mut weight = f64_of(&var);
        let mut buffer = weight.zeros_like().unwrap();
        let mut state = SgdState::new();
        for step in 0..3 {
            let grad = random(seed ^ (step + 5), rows, cols, 1.0);
            state.step(&var, &laid_out(&grad, how), &cfg).unwrap();
            (weight, buffer) = kd_kernels::sgd::reference::step(&weight, &f64_of(&grad), &buffer, &cfg).unwrap();
        }
        assert_close(&flat(&var), &flat(&weight), 2e-6, 2e-6, "weight");
        if momentum > 0.0 {
            assert_close(&flat(&state.momentum().unwrap().unwrap()), &flat(&buffer), 2e-6, 2e-6, "momentum");
        }
    }

    #[test]
    fn adam_over_three_steps(seed: u64, rows in 1usize..40, cols in 1usize..70, how in 0usize..4, decoupled: bool) {
        let decay = if decoupled { Decay::Decoupled(0.1) } else { Decay::L2(0.1) };
        // A larger ε than the default keeps the ratio of two small moments from magnifying rounding.
        let cfg = AdamConfig { decay, eps: 1e-3, ..AdamConfig::adam(0.01) };
        let var = Var::from_tensor(&random(seed, rows, cols, 1.0)).unwrap();
        let mut weight = f64_of(&var);
        let (mut m, mut v) = (weight.zeros_like().unwrap(), weight.zeros_like().unwrap());
        let mut state = AdamState::new();
        for step in 0..3 {
            let grad = random(seed ^ (step + 5), rows, cols, 1.0);
            state.step(&var, &laid_out(&grad, how), &cfg).unwrap();
            (weight, m, v) = kd_kernels::adam::reference::step(&weight, &f64_of(&grad), &m, &v, step + 1, &cfg).unwrap();
        }
        assert_close(&flat(&var), &flat(&weight), 2e-6, 2e-6, "weight");
        assert_close(&flat(&state.m().unwrap().unwrap()), &flat(&m), 2e-6, 2e-6, "m");
        assert_close(&flat(&state.v().unwrap().unwrap()), &flat(&v), 2e-6, 2e-6, "v");
    }
}
