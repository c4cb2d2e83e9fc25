//! The ops on images against PyTorch's values in `../golden/conv_ops.json`, which
//! `scripts/oracles/conv_ops.py` writes.

use crate::common::{conv2d_precise, flat, wave};
use crate::golden_case::{check_case, floats, number};
use candle_core::{DType, Result, Tensor, Var};
use kd_kernels::Activation;
use kd_kernels::batch_norm::{Running, Statistics, batch_norm};
use kd_kernels::channel_shuffle::channel_shuffle;
use kd_kernels::conv2d::Geometry;
use kd_kernels::pool::{avg_pool2d, max_pool2d};
use kd_kernels::upsample::upsample_nearest;
use serde_json::Value;

/// Rounding of the kernels in f32, then of the twins in f64, whose goldens have 12 digits.
const DTYPES: [(DType, f64); 2] = [(DType::F32, 2e-5), (DType::F64, 1e-10)];

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/conv_ops.json")).unwrap()
}

/// Compares value and gradients of `f` with every case of an op.
fn check(op: &str, f: impl Fn(&Value, &[Tensor]) -> Result<Tensor>) {
    for (at, case) in golden()[op].as_array().unwrap().iter().enumerate() {
        check_case(case, &DTYPES, &format!("{op} case {at}"), |inputs| f(case, inputs));
    }
}

#[test]
fn convolution_agrees_with_torch() {
    check("conv2d", |case, t| {
        let geometry = Geometry {
            stride: number(&case["stride"]),
            padding: number(&case["padding"]),
            groups: number(&case["groups"]),
        };
        conv2d_precise(&t[0], &t[1], t.get(2), geometry)
    });
}

#[test]
fn batch_norm_and_its_running_statistics_agree_with_torch() {
    check("batch_norm", |case, t| {
        let (c, dtype) = (t[0].dim(1)?, t[0].dtype());
        let mean = wave(&[c], 1.0, 0.5, 0.2).to_dtype(dtype)?;
        let (mean, var) = (Var::from_tensor(&mean)?, Var::from_tensor(&(mean.sqr()? + 1.0)?)?);
        let statistics = if case["training"].as_bool().unwrap() {
            Statistics::Batch(Some(Running { mean: &mean, var: &var, momentum: 0.1 }))
        } else {
            Statistics::Stored { mean: &mean, var: &var }
        };
        let act = if case["relu"].as_bool().unwrap() { Activation::Relu } else { Activation::None };
        let y = batch_norm(&t[0], &t[1], &t[2], 1e-5, statistics, t.get(3), act)?;
        crate::common::assert_close(
            &flat(&mean),
            &floats(&case["mean"]),
            1e-6,
            0.0,
            "running mean",
        );
        crate::common::assert_close(
            &flat(&var),
            &floats(&case["var"]),
            1e-6,
            0.0,
            "running variance",
        );
        Ok(y)
    });
}

#[test]
fn pooling_agrees_with_torch() {
    check("pool", |case, t| {
        let (kernel, stride, padding) =
            (number(&case["kernel"]), number(&case["stride"]), number(&case["padding"]));
        match case["op"].as_str() {
            Some("max") => max_pool2d(&t[0], kernel, stride, padding),
            _ => avg_pool2d(
                &t[0],
                kernel,
                stride,
                padding,
                case["count_include_pad"].as_bool().unwrap(),
            ),
        }
    });
}

#[test]
fn upsampling_and_shuffle_agree_with_torch() {
    check("upsample", |case, t| {
        upsample_nearest(&t[0], (number(&case["size"][0]), number(&case["size"][1])))
    });
    check("shuffle", |case, t| channel_shuffle(&t[0], number(&case["groups"])));
}

#[test]
fn the_goldens_name_the_torch_version_that_made_them() {
    assert!(golden()["torch"].as_str().unwrap().starts_with("2.15"));
    assert_eq!(floats(&golden()["shuffle"][1]["value"]).len(), 2 * 6 * 2 * 3);
}
