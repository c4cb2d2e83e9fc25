//! The ops on sequences against PyTorch's values in `../golden/transformer_ops.json`, which
//! `scripts/oracles/transformer_ops.py` writes.

use crate::common::{flat, wave};
use crate::golden_case::{check_case, floats, number, numbers};
use candle_core::{DType, Device, Result, Tensor};
use kd_kernels::attention::{Mask, attention};
use kd_kernels::embedding::embedding;
use kd_kernels::feed_forward::feed_forward;
use kd_kernels::layer_norm::{layer_norm, residual_norm};
use kd_kernels::smoothed_cross_entropy::{
    label_smoothed_cross_entropy, projected_cross_entropy, soft_cross_entropy,
};
use serde_json::Value;

/// Rounding of the kernels in f32, then of the twins in f64, whose goldens have 12 digits.
const DTYPES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-10)];

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/transformer_ops.json")).unwrap()
}

fn ids(v: &Value) -> Tensor {
    let ids: Vec<u32> = numbers(v).into_iter().map(|id| id as u32).collect();
    Tensor::new(ids, &Device::Cpu).unwrap()
}

/// Compares value and gradients of `f` with a case.
#[track_caller]
fn check(case: &Value, f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    check_case(case, &DTYPES, "", f);
}

fn cases(op: &str) -> Vec<Value> {
    let cases = golden()[op].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

#[test]
fn layer_norm_agrees_with_torch() {
    for case in cases("layer_norm") {
        check(&case, |t| match t.get(3) {
            Some(residual) => residual_norm(&t[0], residual, &t[1], &t[2], 1e-5, None),
            None => layer_norm(&t[0], &t[1], &t[2], 1e-5),
        });
    }
}

#[test]
fn attention_agrees_with_torch() {
    for case in cases("attention") {
        let lengths = case["lengths"].as_array().map(|_| numbers(&case["lengths"]));
        let mask =
            Mask { key_lengths: lengths.as_deref(), causal: case["causal"].as_bool().unwrap() };
        check(&case, |t| attention(&t[0], &t[1], &t[2], number(&case["heads"]), mask, None));
        // Without gradients there is a path of its own for one query.
        let inputs: Vec<Tensor> = case["shapes"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                crate::common::wave32(&numbers(shape), 1.0, 0.7 + 0.2 * i as f64, 0.1 + i as f64)
            })
            .collect();
        let y = attention(&inputs[0], &inputs[1], &inputs[2], number(&case["heads"]), mask, None)
            .unwrap();
        crate::common::assert_close(
            &flat(&y),
            &floats(&case["value"]),
            1e-5,
            0.0,
            "without gradients",
        );
    }
}

#[test]
fn embedding_agrees_with_torch() {
    for case in cases("embedding") {
        let rows: Vec<Tensor> = case["ids"].as_array().unwrap().iter().map(ids).collect();
        let ids = Tensor::stack(&rows, 0).unwrap();
        let padding = case["padding"].as_u64().map(|id| id as u32);
        check(&case, |t| {
            embedding(&ids, &t[0], case["scale"].as_f64().unwrap(), t.get(1), padding)
        });
    }
}

#[test]
fn smoothed_cross_entropy_agrees_with_torch() {
    for case in cases("cross_entropy") {
        let of = &case["logits"];
        let (targets, epsilon) = (ids(&of["targets"]), of["epsilon"].as_f64().unwrap());
        let ignore = of["ignore"].as_u64().map(|id| id as u32);
        check(of, |t| {
            let smoothed = label_smoothed_cross_entropy(&t[0], &targets, epsilon, ignore)?;
            crate::common::assert_close(
                &flat(&smoothed.nll),
                &floats(&case["nll"]),
                2e-5,
                0.0,
                "nll",
            );
            assert_eq!(
                smoothed.rows,
                numbers(&of["targets"]).iter().filter(|&&y| Some(y as u32) != ignore).count()
            );
            Ok(smoothed.loss)
        });
        check(&case["projected"], |t| {
            Ok(projected_cross_entropy(&t[0], &t[1], &targets, epsilon, ignore)?.loss)
        });
    }
}

#[test]
fn soft_cross_entropy_agrees_with_torch() {
    for case in cases("soft_cross_entropy") {
        let counts: Option<Vec<bool>> =
            case["counts"].as_array().map(|all| all.iter().map(|c| c.as_bool().unwrap()).collect());
        check(&case, |t| {
            let teacher = wave(t[0].dims(), 3.0, 1.3, 0.5).to_dtype(t[0].dtype())?;
            soft_cross_entropy(&t[0], &teacher, counts.as_deref())
        });
    }
}

#[test]
fn feed_forward_agrees_with_torch() {
    for case in cases("feed_forward") {
        check(&case, |t| feed_forward(&t[0], &t[1], &t[2], &t[3], &t[4], None));
    }
}

#[test]
fn the_goldens_name_the_torch_version_that_made_them() {
    assert!(golden()["torch"].as_str().unwrap().starts_with("2.15"));
}
