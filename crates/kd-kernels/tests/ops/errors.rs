//! Bad input is refused with one line that says what and where, expected and got.

use crate::common::wave32;
use candle_core::{DType, Device, Result, Tensor, Var};
use kd_kernels::adam::{AdamConfig, AdamState, Decay};
use kd_kernels::cross_entropy::cross_entropy;
use kd_kernels::dropout::dropout;
use kd_kernels::max_norm::max_norm;
use kd_kernels::sgd::{SgdConfig, SgdState};
use kd_kernels::softened_kl::softened_kl;
use kd_kernels::softmax::{log_softmax, log_sum_exp, softmax};
use kd_kernels::stream::Stream;

#[track_caller]
fn refused<T>(result: Result<T>, message: &str) {
    let error = match result {
        Ok(_) => panic!("expected the error: {message}"),
        Err(error) => error.to_string(),
    };
    // With RUST_BACKTRACE set Candle appends a trace.
    assert_eq!(error.lines().next().unwrap_or_default(), message);
}

#[test]
fn softmax_of_no_classes() {
    let empty = Tensor::zeros((3, 0), DType::F32, &Device::Cpu).unwrap();
    refused(softmax(&empty), "softmax: expected [.., c] with c >= 1, got [3, 0]");
    refused(
        log_softmax(&Tensor::new(1f32, &Device::Cpu).unwrap()),
        "log_softmax: expected [.., c] with c >= 1, got []",
    );
    refused(log_sum_exp(&empty), "log_sum_exp: expected [.., c] with c >= 1, got [3, 0]");
}

#[test]
fn cross_entropy_with_labels_that_do_not_fit() {
    let z = wave32(&[3, 4], 1.0, 0.7, 0.1);
    let labels = |y: &[u32]| Tensor::new(y, &Device::Cpu).unwrap();
    refused(
        cross_entropy(&z, &labels(&[0, 4, 1])),
        "cross_entropy: label 4 at index 1 is out of range for 4 classes",
    );
    refused(
        cross_entropy(&z, &labels(&[0, 1])),
        "cross_entropy: expected labels u32 [3], got U32 [2]",
    );
    let wide = labels(&[0, 1, 2]).to_dtype(DType::I64).unwrap();
    refused(cross_entropy(&z, &wide), "cross_entropy: expected labels u32 [3], got I64 [3]");
    refused(
        cross_entropy(&wave32(&[4], 1.0, 0.7, 0.1), &labels(&[0])),
        "cross_entropy: expected logits [b, c] with b, c >= 1, got [4]",
    );
}

#[test]
fn softened_kl_with_a_bad_temperature_or_shape() {
    let z = wave32(&[3, 4], 1.0, 0.7, 0.1);
    for (t, shown) in [(0.0, "0"), (-1.0, "-1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        refused(
            softened_kl(&z, &z, t),
            &format!("softened_kl: expected a finite temperature above 0, got {shown}"),
        );
    }
    let teacher = wave32(&[3, 5], 1.0, 0.7, 0.1);
    refused(
        softened_kl(&z, &teacher, 1.0),
        "softened_kl: expected teacher logits [3, 4] as the student's, got [3, 5]",
    );
}

#[test]
fn dropout_with_p_outside_its_domain() {
    let x = wave32(&[3, 4], 1.0, 0.7, 0.1);
    for (p, shown) in [(1.0, "1"), (-0.1, "-0.1"), (f64::NAN, "NaN")] {
        refused(
            dropout(&x, p, Stream::new(0, 0)),
            &format!("dropout: expected p in [0, 1), got {shown}"),
        );
    }
}

#[test]
fn max_norm_without_rows_or_cap() {
    let bias = Var::from_tensor(&wave32(&[4], 1.0, 0.7, 0.1)).unwrap();
    refused(
        max_norm(&bias, 1.0),
        "max_norm: expected a weight of rank 2 or more for max-norm, got [4]",
    );
    let weight = Var::from_tensor(&wave32(&[3, 4], 1.0, 0.7, 0.1)).unwrap();
    refused(max_norm(&weight, 0.0), "max_norm: expected a finite max-norm above 0, got 0");
}

#[test]
fn sgd_with_a_config_gradient_or_state_that_does_not_fit() {
    let var = Var::from_tensor(&wave32(&[3, 4], 1.0, 0.7, 0.1)).unwrap();
    let grad = wave32(&[3, 4], 1.0, 1.9, 0.3);
    let step = |state: &mut SgdState, grad: &Tensor, cfg: SgdConfig| state.step(&var, grad, &cfg);
    let cfg = SgdConfig::new(0.1);
    let new = &mut SgdState::new();
    refused(
        step(new, &grad, SgdConfig::new(f64::NAN)),
        "sgd: expected a finite lr of at least 0, got NaN",
    );
    refused(
        step(new, &grad, SgdConfig { nesterov: true, ..cfg }),
        "sgd: expected momentum above 0 with nesterov, got 0",
    );
    refused(
        step(new, &grad.t().unwrap(), cfg),
        "sgd: expected a gradient of the variable's shape [3, 4], got [4, 3]",
    );
    let mut other = SgdState::from_momentum(wave32(&[3, 5], 1.0, 0.7, 0.1));
    let momentum = SgdConfig { momentum: 0.9, ..cfg };
    refused(
        step(&mut other, &grad, momentum),
        "sgd: expected optimiser state of the variable's shape [3, 4], got [3, 5]",
    );
}

#[test]
fn adam_with_a_config_or_state_that_does_not_fit() {
    let var = Var::from_tensor(&wave32(&[3, 4], 1.0, 0.7, 0.1)).unwrap();
    let grad = wave32(&[3, 4], 1.0, 1.9, 0.3);
    let cfg = AdamConfig::adam(0.1);
    let mut state = AdamState::new();
    refused(
        state.step(&var, &grad, &AdamConfig { beta2: 1.0, ..cfg }),
        "adam: expected beta2 in [0, 1), got 1",
    );
    let negative = AdamConfig { decay: Decay::Decoupled(-1.0), ..cfg };
    refused(
        state.step(&var, &grad, &negative),
        "adam: expected a finite weight decay of at least 0, got -1",
    );
    assert_eq!(state.t(), 0, "a refused step does not count");
    let other = wave32(&[3, 5], 1.0, 0.7, 0.1);
    let mut state = AdamState::from_moments(other.clone(), other, 3);
    refused(
        state.step(&var, &grad, &cfg),
        "adam: expected optimiser state of the variable's shape [3, 4], got [3, 5]",
    );
}
