//! The ops against PyTorch's values in `../golden/kernels.json`, which `scripts/oracles/kernels.py`
//! writes.

use crate::common::{assert_close, flat, value_and_grad, wave};
use candle_core::{DType, Device, Tensor, Var};
use kd_kernels::adam::{AdamConfig, AdamState, Decay};
use kd_kernels::cross_entropy::cross_entropy;
use kd_kernels::max_norm::max_norm;
use kd_kernels::sgd::{SgdConfig, SgdState};
use kd_kernels::softened_kl::softened_kl;
use kd_kernels::softmax::{log_softmax, softmax};
use serde_json::Value;

/// Rounding of f32 against float64 goldens, then of f64 (the twins) against the same.
const DTYPES: [(DType, f64); 2] = [(DType::F32, 2e-6), (DType::F64, 1e-12)];

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/kernels.json")).unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn the_goldens_name_the_torch_version_that_made_them() {
    assert!(golden()["torch"].as_str().unwrap().starts_with("2.15"));
}

#[test]
fn softmax_and_log_softmax_agree_with_torch_in_value_and_gradient() {
    for (name, case) in golden()["softmax"].as_object().unwrap() {
        let dims: Vec<usize> = floats(&case["shape"]).iter().map(|&d| d as usize).collect();
        for (dtype, eps) in DTYPES {
            let x = wave(&dims, case["scale"].as_f64().unwrap(), 0.7, 0.1).to_dtype(dtype).unwrap();
            let up = wave(&dims, 1.0, 1.9, 0.3).to_dtype(dtype).unwrap();
            let f = if name.starts_with("softmax") { softmax } else { log_softmax };
            let (y, grad) = value_and_grad(&x, Some(&up), f);
            assert_close(
                &flat(&y),
                &floats(&case["value"]),
                eps,
                eps,
                &format!("{name} {dtype:?}"),
            );
            assert_close(
                &flat(&grad),
                &floats(&case["grad"]),
                eps,
                eps,
                &format!("gradient of {name} {dtype:?}"),
            );
        }
    }
}

#[test]
fn cross_entropy_agrees_with_torch_in_value_and_gradient() {
    let golden = golden();
    let case = &golden["loss"]["cross_entropy"];
    assert_eq!(case["value"].as_f64().unwrap(), 2.0026245516114516);
    let labels = Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu).unwrap();
    for (dtype, eps) in DTYPES {
        let zs = wave(&[4, 10], 3.0, 0.7, 0.1).to_dtype(dtype).unwrap();
        let (y, grad) = value_and_grad(&zs, None, |z| cross_entropy(z, &labels));
        assert_close(&flat(&y), &[case["value"].as_f64().unwrap()], eps, 0.0, "value");
        assert_close(&flat(&grad), &floats(&case["grad"]), eps, 0.0, "gradient");
    }
}

#[test]
fn softened_kl_agrees_with_torch_in_value_and_gradient_at_every_temperature() {
    let golden = golden();
    assert!(
        (golden["loss"]["softened_kl/4"]["value"].as_f64().unwrap() - 5.587147982836503).abs()
            < 1e-14
    );
    let mut seen = 0;
    for (name, case) in golden["loss"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("softened_kl"))
    {
        seen += 1;
        let t = case["temperature"].as_f64().unwrap();
        for (dtype, eps) in DTYPES {
            let zs = wave(&[4, 10], 3.0, 0.7, 0.1).to_dtype(dtype).unwrap();
            let zt = wave(&[4, 10], 4.0, 1.3, 0.5).to_dtype(dtype).unwrap();
            // The kernel sums in f64, so T² does not raise its rounding; the twins' rounding it
            // does.
            let twin = dtype == DType::F64 || !kd_kernels::switch::kernels_enabled();
            let (value_eps, grad_eps) = if twin { (eps * t * t, eps * t) } else { (eps, eps) };
            let (y, grad) = value_and_grad(&zs, None, |z| softened_kl(z, &zt, t));
            assert_close(
                &flat(&y),
                &[case["value"].as_f64().unwrap()],
                value_eps,
                eps,
                &format!("{name} {dtype:?}"),
            );
            assert_close(
                &flat(&grad),
                &floats(&case["grad"]),
                grad_eps,
                0.0,
                &format!("gradient of {name} {dtype:?}"),
            );
        }
    }
    assert_eq!(seen, 5);
}

/// Runs one optimiser case in both dtypes, comparing the weight after each step with torch's of the
/// same dtype.
fn trajectory(name: &str, case: &Value, mut step: impl FnMut(DType, usize, &Var, &Tensor)) {
    for (dtype, key, eps) in [(DType::F32, "f32", 5e-7), (DType::F64, "f64", 1e-13)] {
        let var =
            Var::from_tensor(&wave(&[5, 7], 0.5, 0.37, 0.6).to_dtype(dtype).unwrap()).unwrap();
        for (i, want) in case[key].as_array().unwrap().iter().enumerate() {
            let grad = wave(&[5, 7], 1.0, 0.9 + 0.1 * i as f64, 0.2).to_dtype(dtype).unwrap();
            step(dtype, i, &var, &grad);
            assert_close(&flat(&var), &floats(want), eps, eps, &format!("{name} {key}, step {i}"));
        }
    }
}

fn number(options: &Value, key: &str, default: f64) -> f64 {
    options[key].as_f64().unwrap_or(default)
}

#[test]
fn every_step_of_sgd_agrees_with_torch() {
    let golden = golden();
    let cases: Vec<_> = golden["optimiser"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("sgd/"))
        .collect();
    assert_eq!(cases.len(), 6);
    for (name, case) in cases {
        let options = &case["options"];
        let cfg = SgdConfig {
            momentum: number(options, "momentum", 0.0),
            nesterov: options["nesterov"].as_bool().unwrap_or(false),
            weight_decay: number(options, "weight_decay", 0.0),
            ..SgdConfig::new(number(options, "lr", f64::NAN))
        };
        let mut state = SgdState::new();
        let steps = case["f32"].as_array().unwrap().len();
        trajectory(name, case, |dtype, i, var, grad| {
            if i == 0 {
                state = SgdState::new();
            }
            state.step(var, grad, &cfg).unwrap();
            if i + 1 == steps && cfg.momentum != 0.0 {
                let key = if dtype == DType::F32 { "f32_state" } else { "f64_state" };
                let momentum = state.momentum().unwrap().unwrap();
                assert_close(
                    &flat(&momentum),
                    &floats(&case[key]["momentum_buffer"]),
                    1e-6,
                    0.0,
                    &format!("{name} momentum"),
                );
            }
        });
        assert_eq!(state.momentum().unwrap().is_some(), cfg.momentum != 0.0);
    }
}

#[test]
fn every_step_of_adam_and_adamw_agrees_with_torch() {
    let golden = golden();
    let cases: Vec<_> = golden["optimiser"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("adam"))
        .collect();
    assert_eq!(cases.len(), 4);
    for (name, case) in cases {
        let options = &case["options"];
        let lr = number(options, "lr", f64::NAN);
        let defaults =
            if name.starts_with("adamw/") { AdamConfig::adamw(lr) } else { AdamConfig::adam(lr) };
        let decay = match defaults.decay {
            Decay::L2(d) => Decay::L2(number(options, "weight_decay", d)),
            Decay::Decoupled(d) => Decay::Decoupled(number(options, "weight_decay", d)),
        };
        let betas = options["betas"]
            .as_array()
            .map(|_| floats(&options["betas"]))
            .unwrap_or(vec![defaults.beta1, defaults.beta2]);
        let cfg = AdamConfig {
            beta1: betas[0],
            beta2: betas[1],
            eps: number(options, "eps", defaults.eps),
            decay,
            ..defaults
        };
        let mut state = AdamState::new();
        trajectory(name, case, |dtype, i, var, grad| {
            if i == 0 {
                state = AdamState::new();
            }
            state.step(var, grad, &cfg).unwrap();
            assert_eq!(state.t(), i as u64 + 1);
            if i == 3 {
                let key = if dtype == DType::F32 { "f32_state" } else { "f64_state" };
                assert_close(
                    &flat(&state.m().unwrap().unwrap()),
                    &floats(&case[key]["exp_avg"]),
                    1e-6,
                    0.0,
                    &format!("{name} m"),
                );
                assert_close(
                    &flat(&state.v().unwrap().unwrap()),
                    &floats(&case[key]["exp_avg_sq"]),
                    1e-6,
                    0.0,
                    &format!("{name} v"),
                );
            }
        });
    }
}

#[test]
fn max_norm_agrees_with_torch_renorm() {
    let golden = golden();
    let case = &golden["max_norm"];
    let rows = Tensor::new(&[0.1f64, 0.5, 1.0, 2.0, 0.0, 5.0], &Device::Cpu)
        .unwrap()
        .unsqueeze(1)
        .unwrap();
    for dtype in [DType::F32, DType::F64] {
        let w =
            wave(&[6, 9], 2.0, 0.37, 0.6).broadcast_mul(&rows).unwrap().to_dtype(dtype).unwrap();
        let var = Var::from_tensor(&w).unwrap();
        max_norm(&var, case["cap"].as_f64().unwrap()).unwrap();
        // Both leave a scaled row slightly below the cap, each by its own margin.
        assert_close(&flat(&var), &floats(&case["value"]), 1e-9, 1e-6, &format!("{dtype:?}"));
    }
}
