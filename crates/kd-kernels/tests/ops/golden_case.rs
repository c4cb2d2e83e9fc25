//! A case of a golden file: formula inputs, and PyTorch's value and gradients.

use candle_core::{DType, Result, Tensor, Var};
use serde_json::Value;

use crate::common::{assert_close, flat, wave};

pub fn floats(v: &Value) -> Vec<f64> {
    v.as_array().map_or_else(
        || vec![v.as_f64().unwrap()],
        |all| all.iter().map(|x| x.as_f64().unwrap()).collect(),
    )
}

pub fn number(v: &Value) -> usize {
    v.as_u64().unwrap() as usize
}

pub fn numbers(v: &Value) -> Vec<usize> {
    v.as_array().unwrap().iter().map(number).collect()
}

/// Compares value and gradients of `f`, on the formula inputs of a case, with PyTorch's, within each
/// type's tolerance relative to the largest value. `name` stands in messages.
#[track_caller]
pub fn check_case(
    case: &Value,
    dtypes: &[(DType, f64)],
    name: &str,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    for &(dtype, tolerance) in dtypes {
        let input = |(i, shape): (usize, &Value)| {
            let wave = wave(&numbers(shape), 1.0, 0.7 + 0.2 * i as f64, 0.1 + i as f64);
            Var::from_tensor(&wave.to_dtype(dtype).unwrap()).unwrap()
        };
        let vars: Vec<Var> =
            case["shapes"].as_array().unwrap().iter().enumerate().map(input).collect();
        let y = f(&vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>()).unwrap();
        let up = wave(y.dims(), 1.0, 1.9, 0.3).to_dtype(dtype).unwrap();
        let grads = kd_kernels::backward(&(&y * up).unwrap().sum_all().unwrap()).unwrap();
        let compare = |got: &Tensor, want: &Value, what: &str| {
            let want = floats(want);
            let size = want.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            assert_close(
                &flat(got),
                &want,
                tolerance * size,
                0.0,
                &format!("{name} {dtype:?} {what}"),
            );
        };
        compare(&y, &case["value"], "value");
        for (i, (var, want)) in vars.iter().zip(case["grads"].as_array().unwrap()).enumerate() {
            compare(grads.get(var).unwrap(), want, &format!("gradient {i}"));
        }
    }
}
