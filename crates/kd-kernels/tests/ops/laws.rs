//! What must hold of the ops whatever the numbers: the laws of the losses, of dropout and of the
//! optimisers.

use crate::common::{assert_close, bits, flat, value_and_grad, wave, wave32};
use candle_core::{DType, Device, Tensor, Var};
use kd_kernels::adam::{AdamConfig, AdamState};
use kd_kernels::cross_entropy::cross_entropy;
use kd_kernels::dropout::dropout;
use kd_kernels::max_norm::max_norm;
use kd_kernels::sgd::{SgdConfig, SgdState};
use kd_kernels::softened_kl::softened_kl;
use kd_kernels::softmax::{log_softmax, log_sum_exp, softmax};
use kd_kernels::stream::Stream;
use proptest::prelude::*;

fn scalar(t: Tensor) -> f64 {
    flat(&t)[0]
}

fn row_norms(t: &Tensor) -> Vec<f64> {
    let t = t.to_dtype(DType::F64).unwrap();
    flat(&t.sqr().unwrap().sum(1).unwrap().sqrt().unwrap())
}

#[test]
fn softmax_sums_to_one_and_log_softmax_is_its_logarithm() {
    let x = wave32(&[5, 37], 9.0, 0.7, 0.1);
    let y = softmax(&x).unwrap();
    assert_close(&flat(&y.sum(1).unwrap()), &[1.0; 5], 1e-6, 0.0, "sum");
    assert_close(
        &flat(&log_softmax(&x).unwrap().exp().unwrap()),
        &flat(&y),
        1e-6,
        0.0,
        "exp of log_softmax",
    );
}

#[test]
fn log_sum_exp_is_what_log_softmax_takes_off_each_logit() {
    let x = wave32(&[5, 1337], 9.0, 0.7, 0.1);
    let off = x.broadcast_sub(&log_sum_exp(&x).unwrap().unsqueeze(1).unwrap()).unwrap();
    assert_close(
        &flat(&off),
        &flat(&log_softmax(&x).unwrap()),
        1e-6,
        1e-6,
        "logits less their log_sum_exp",
    );
    let equal = Tensor::full(2f32, (3, 8), &Device::Cpu).unwrap();
    assert_close(
        &flat(&log_sum_exp(&equal).unwrap()),
        &[2.0 + 8f64.ln(); 3],
        1e-6,
        0.0,
        "equal logits",
    );
}

#[test]
fn a_gradient_of_cross_entropy_too_small_to_change_a_weight_is_0() {
    let logits = Tensor::new(&[[0f32, -30.0, -60.0, -95.0]], &Device::Cpu).unwrap();
    let grad = |label: u32| {
        flat(
            &value_and_grad(&logits, None, |z| {
                cross_entropy(z, &Tensor::new(&[label], &Device::Cpu)?)
            })
            .1,
        )
    };
    let small = (-30f64).exp();
    if !kd_kernels::kernels_enabled() {
        // The twin rounds what is left of 1, and keeps what is small.
        return assert_close(
            &grad(3),
            &[1.0, small, (-60f64).exp(), -1.0],
            1e-7,
            0.0,
            "a label that is not, by the twin",
        );
    }
    assert_close(&grad(0), &[-small, small, 0.0, 0.0], 1e-16, 0.0, "a label that is learnt");
    assert_eq!(grad(0)[2..], [0.0, 0.0]);
    assert_close(&grad(3), &[1.0, small, 0.0, -1.0], 1e-7, 0.0, "a label that is not");
}

#[test]
fn adding_a_constant_to_a_row_of_logits_changes_nothing() {
    // A multiple of the logits' spacing, so that the shift itself does not round.
    let (z, v) = (wave32(&[4, 10], 3.0, 0.7, 0.1), wave32(&[4, 10], 4.0, 1.3, 0.5));
    let quantum = |t: &Tensor| ((t * 1024.0).unwrap().round().unwrap() / 1024.0).unwrap();
    let (z, v) = (quantum(&z), quantum(&v));
    let labels = Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu).unwrap();
    let shifted = |t: &Tensor| (t + 512.0).unwrap();
    assert_eq!(bits(&softmax(&shifted(&z)).unwrap()), bits(&softmax(&z).unwrap()));
    let ce = |z: &Tensor| scalar(cross_entropy(z, &labels).unwrap());
    assert!((ce(&shifted(&z)) - ce(&z)).abs() < 1e-6);
    let kl = |z: &Tensor, v: &Tensor| scalar(softened_kl(z, v, 4.0).unwrap());
    assert!((kl(&shifted(&z), &v) - kl(&z, &v)).abs() < 2e-5);
    assert!((kl(&z, &shifted(&v)) - kl(&z, &v)).abs() < 2e-5);
}

#[test]
fn logits_far_beyond_the_range_of_exp_stay_finite() {
    let z = Tensor::new(&[[1e4f32, -1e4, 0.0], [-1e30, 0.0, 1e30]], &Device::Cpu).unwrap();
    assert_eq!(flat(&softmax(&z).unwrap()), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let labels = Tensor::new(&[2u32, 2], &Device::Cpu).unwrap();
    assert_eq!(scalar(cross_entropy(&z, &labels).unwrap()), 5e3);
}

#[test]
fn nan_logits_give_nan_losses() {
    let z = Tensor::new(&[[1f32, f32::NAN, 0.0]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32], &Device::Cpu).unwrap();
    assert!(scalar(cross_entropy(&z, &labels).unwrap()).is_nan());
    assert!(scalar(softened_kl(&z, &z.zeros_like().unwrap(), 2.0).unwrap()).is_nan());
    assert!(scalar(softened_kl(&z.zeros_like().unwrap(), &z, 2.0).unwrap()).is_nan());
}

#[test]
fn softened_kl_is_zero_with_zero_gradient_between_equals() {
    for t in [0.5, 1.0, 4.0, 20.0] {
        let z = wave32(&[4, 10], 3.0, 0.7, 0.1);
        let (y, grad) = value_and_grad(&z, None, |x| softened_kl(x, &z, t));
        assert_eq!(flat(&y), [0.0]);
        assert_close(&flat(&grad), &[0.0; 40], 1e-7, 0.0, "gradient");
    }
}

proptest! {
    #[test]
    fn softened_kl_is_positive_between_unequals(a in 0.1f64..3.0, t in 0.5f64..20.0) {
        let (z, v) = (wave32(&[3, 7], 2.0, a, 0.1), wave32(&[3, 7], 2.0, a + 0.5, 0.4));
        prop_assert!(scalar(softened_kl(&z, &v, t).unwrap()) > 1e-3);
    }

    #[test]
    fn max_norm_caps_every_row_never_lengthens_and_is_idempotent(seed: u64, cols in 1usize..80, cap in 0.01f64..10.0) {
        let mut values = vec![0f32; 9 * cols];
        Stream::new(seed, 0).fill_normal(0, &mut values);
        let var = Var::from_tensor(&Tensor::from_vec(values, (9, cols), &Device::Cpu).unwrap()).unwrap();
        let before = (row_norms(&var), crate::common::flat(&var));
        max_norm(&var, cap).unwrap();
        let once = bits(&var);
        for (i, (norm, was)) in row_norms(&var).into_iter().zip(before.0).enumerate() {
            prop_assert!(norm <= cap * (1.0 + 1e-7));
            if was > cap * (1.0 + 1e-6) {
                prop_assert!(norm > cap * (1.0 - 1e-6), "row {i}: a capped row lies at the cap");
            } else if was < cap * (1.0 - 1e-6) {
                let unchanged = flat(&var)[i * cols..(i + 1) * cols] == before.1[i * cols..(i + 1) * cols];
                prop_assert!(unchanged, "row {i}: a short row stays as it is");
            }
        }
        max_norm(&var, cap).unwrap();
        prop_assert_eq!(bits(&var), once);
    }
}

#[test]
fn at_high_temperature_the_gradient_is_that_of_logit_regression() {
    // Equation 4 of the paper: (z − z̄ − (v − v̄))/N, here over the batch as well.
    let (z, v) = (wave(&[4, 10], 3.0, 0.7, 0.1), wave(&[4, 10], 4.0, 1.3, 0.5));
    let centred = |t: &Tensor| t.broadcast_sub(&t.mean_keepdim(1).unwrap()).unwrap();
    let want = flat(&((centred(&z) - centred(&v)).unwrap() / 40.0).unwrap());
    for dtype in [DType::F32, DType::F64] {
        let (z, v) = (z.to_dtype(dtype).unwrap(), v.to_dtype(dtype).unwrap());
        let distance = |t: f64| {
            let (_, grad) = value_and_grad(&z, None, |z| softened_kl(z, &v, t));
            flat(&grad)
                .iter()
                .zip(&want)
                .map(|(g, w)| if g.is_nan() { f64::INFINITY } else { (g - w).abs() })
                .fold(0.0, f64::max)
        };
        assert!(distance(1000.0) < 1e-3, "{dtype:?}: {}", distance(1000.0));
        assert!(
            distance(10.0) > 10.0 * distance(1000.0),
            "the limit is approached, not met at once"
        );
    }
}

#[test]
fn the_loss_of_a_batch_is_the_mean_of_its_parts() {
    let (z, v) = (wave32(&[6, 10], 3.0, 0.7, 0.1), wave32(&[6, 10], 4.0, 1.3, 0.5));
    let labels = Tensor::new(&[2u32, 0, 7, 9, 1, 1], &Device::Cpu).unwrap();
    let ce = |from, n| {
        scalar(
            cross_entropy(&z.narrow(0, from, n).unwrap(), &labels.narrow(0, from, n).unwrap())
                .unwrap(),
        )
    };
    let kl = |from, n| {
        scalar(
            softened_kl(&z.narrow(0, from, n).unwrap(), &v.narrow(0, from, n).unwrap(), 3.0)
                .unwrap(),
        )
    };
    for part in [&ce as &dyn Fn(usize, usize) -> f64, &kl] {
        assert!((part(0, 6) - (part(0, 2) * 2.0 + part(2, 4) * 4.0) / 6.0).abs() < 2e-6);
    }
}

#[test]
fn a_teacher_gets_no_gradient() {
    let z = Var::from_tensor(&wave32(&[4, 10], 3.0, 0.7, 0.1)).unwrap();
    let v = Var::from_tensor(&wave32(&[4, 10], 4.0, 1.3, 0.5)).unwrap();
    let grads = softened_kl(&z, &v, 2.0).unwrap().backward().unwrap();
    assert!(grads.get(&z).is_some() && grads.get(&v).is_none());
}

#[test]
fn dropout_keeps_exactly_the_elements_that_the_stream_says() {
    let (stream, p) = (Stream::new(11, 12), 0.3);
    let y = flat(
        &dropout(&Tensor::ones((91, 389), DType::F32, &Device::Cpu).unwrap(), p, stream).unwrap(),
    );
    for (i, y) in y.into_iter().enumerate() {
        let kept = f64::from(stream.u32_at(i as u64)) >= p * 4294967296.0;
        assert_eq!(y != 0.0, kept, "element {i}");
    }
}

#[test]
fn dropout_keeps_the_expectation() {
    let n = 200_000usize;
    for p in [0.1, 0.5, 0.9] {
        let y = flat(
            &dropout(&Tensor::ones(n, DType::F32, &Device::Cpu).unwrap(), p, Stream::new(3, 4))
                .unwrap(),
        );
        // Five standard deviations of the mean of n such variables.
        let bound = 5.0 * (p / (1.0 - p) / n as f64).sqrt();
        assert!((y.iter().sum::<f64>() / n as f64 - 1.0).abs() < bound, "p {p}");
    }
}

#[test]
fn dropout_of_zero_is_the_identity() {
    let x = wave32(&[3, 5], 1.0, 0.7, 0.1);
    assert_eq!(bits(&dropout(&x, 0.0, Stream::new(1, 1)).unwrap()), bits(&x));
}

#[test]
fn sgd_without_momentum_is_plain_gradient_descent() {
    let (w, g) = (wave32(&[7, 9], 1.0, 0.7, 0.1), wave32(&[7, 9], 1.0, 1.9, 0.3));
    let var = Var::from_tensor(&w).unwrap();
    SgdState::new().step(&var, &g, &SgdConfig::new(0.1)).unwrap();
    assert_close(&flat(&var), &flat(&(w - (g * 0.1).unwrap()).unwrap()), 1e-7, 0.0, "weight");
}

#[test]
fn sgd_with_max_norm_is_sgd_then_max_norm() {
    let (w, g) = (wave32(&[50, 700], 1.0, 0.7, 0.1), wave32(&[50, 700], 1.0, 1.9, 0.3));
    let [fused, apart] = [0, 1].map(|_| Var::from_tensor(&w).unwrap());
    let cfg = SgdConfig { momentum: 0.5, ..SgdConfig::new(0.1) };
    SgdState::new().step(&fused, &g, &SgdConfig { max_norm: Some(15.0), ..cfg }).unwrap();
    SgdState::new().step(&apart, &g, &cfg).unwrap();
    let uncapped = bits(&apart);
    max_norm(&apart, 15.0).unwrap();
    assert_eq!(bits(&fused), bits(&apart));
    assert_ne!(bits(&fused), uncapped);
}

#[test]
fn optimisers_resume_from_saved_state_bit_for_bit() {
    let w = wave32(&[7, 9], 1.0, 0.7, 0.1);
    let grads: Vec<Tensor> =
        (0..4).map(|i| wave32(&[7, 9], 1.0, 0.9 + 0.1 * i as f64, 0.2)).collect();
    let sgd =
        SgdConfig { momentum: 0.9, nesterov: true, weight_decay: 0.01, ..SgdConfig::new(0.1) };
    let adam = AdamConfig::adamw(0.01);

    let straight = [0, 1].map(|_| Var::from_tensor(&w).unwrap());
    let (mut s, mut a) = (SgdState::new(), AdamState::new());
    for grad in &grads {
        s.step(&straight[0], grad, &sgd).unwrap();
        a.step(&straight[1], grad, &adam).unwrap();
    }
    let resumed = [0, 1].map(|_| Var::from_tensor(&w).unwrap());
    let (mut s, mut a) = (SgdState::new(), AdamState::new());
    for grad in &grads {
        s.step(&resumed[0], grad, &sgd).unwrap();
        a.step(&resumed[1], grad, &adam).unwrap();
        s = SgdState::from_momentum(s.momentum().unwrap().unwrap());
        a = AdamState::from_moments(a.m().unwrap().unwrap(), a.v().unwrap().unwrap(), a.t());
    }
    for (a, b) in straight.iter().zip(&resumed) {
        assert_eq!(bits(a), bits(b));
    }
}

#[test]
fn a_saved_moment_does_not_change_with_later_steps() {
    let (var, grad) = (
        Var::from_tensor(&wave32(&[3, 4], 1.0, 0.7, 0.1)).unwrap(),
        wave32(&[3, 4], 1.0, 1.9, 0.3),
    );
    let cfg = SgdConfig { momentum: 0.9, ..SgdConfig::new(0.1) };
    let mut state = SgdState::new();
    state.step(&var, &grad, &cfg).unwrap();
    let saved = state.momentum().unwrap().unwrap();
    let before = bits(&saved);
    state.step(&var, &grad, &cfg).unwrap();
    assert_eq!(bits(&saved), before);
    assert_ne!(bits(&state.momentum().unwrap().unwrap()), before);
}

#[test]
fn averages_without_gradients_reach_zero_and_never_linger_as_subnormal_numbers()
-> candle_core::Result<()> {
    let device = Device::Cpu;
    let (a, b) = (Var::new(&[1f32, 2., 3.], &device)?, Var::new(&[1f32, 2., 3.], &device)?);
    let (mut sgd, mut adam) = (SgdState::new(), AdamState::new());
    let sgd_config = SgdConfig { momentum: 0.9, ..SgdConfig::new(0.1) };
    let adam_config = AdamConfig { beta2: 0.9, ..AdamConfig::adam(0.001) };
    for step in 0..900 {
        let gradient = Tensor::new(
            if step == 0 { [1f32, -1e-3, 1e-12] } else { [0.; 3] }.as_slice(),
            &device,
        )?;
        sgd.step(&a, &gradient, &sgd_config)?;
        adam.step(&b, &gradient, &adam_config)?;
        for kept in [sgd.momentum()?, adam.m()?, adam.v()?].into_iter().flatten() {
            let values = kept.to_vec1::<f32>()?;
            // The twins leave them where they are.
            assert!(
                !kd_kernels::kernels_enabled() || !values.iter().any(|v| v.is_subnormal()),
                "step {step}: {values:?}"
            );
        }
    }
    for kept in [sgd.momentum()?, adam.m()?, adam.v()?].into_iter().flatten() {
        let least = if kd_kernels::kernels_enabled() { 0. } else { f32::MIN_POSITIVE };
        assert!(kept.to_vec1::<f32>()?.iter().all(|v| v.abs() <= least), "{kept}");
    }
    Ok(())
}
