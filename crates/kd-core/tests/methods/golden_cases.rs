//! Values and gradients of losses that a PyTorch program wrote: its cases, each a loss by name, the
//! formulas of its inputs, options, the value and the gradients of the inputs that are trained.

use candle_core::{DType, Device, Result, Tensor, Var};
use serde_json::Value;

/// Rounding of f32 and of f64, relative to the value and to the largest part of a gradient. Goldens
/// of gradients have ten digits.
const DTYPES: [(DType, f64); 2] = [(DType::F32, 3e-5), (DType::F64, 1e-9)];

pub fn numbers(json: &Value) -> Vec<f64> {
    json.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn sizes(json: &Value) -> Vec<usize> {
    numbers(json).into_iter().map(|n| n as usize).collect()
}

fn flat(x: &Tensor) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// A number among a case's options.
pub fn option(case: &Value, name: &str) -> f64 {
    case["options"][name].as_f64().unwrap_or_else(|| panic!("no option {name} in {case}"))
}

/// The labels among a case's options.
pub fn labels(case: &Value) -> Result<Tensor> {
    let labels: Vec<u32> =
        numbers(&case["options"]["labels"]).into_iter().map(|y| y as u32).collect();
    Tensor::new(labels, &Device::Cpu)
}

/// The tensor that the oracle's `Input` describes.
pub fn input(spec: &Value) -> Result<Tensor> {
    let dims = sizes(&spec["shape"]);
    let number = |name: &str| spec[name].as_f64().expect("a number");
    let (a, b, scale) = (number("a"), number("b"), number("scale"));
    let values: Vec<f64> =
        (0..dims.iter().product::<usize>()).map(|i| scale * (a * i as f64 + b).sin()).collect();
    let mut x = Tensor::from_vec(values, dims, &Device::Cpu)?;
    if let Some(columns) = spec["columns"].as_u64() {
        x = x.narrow(1, 0, columns as usize)?.contiguous()?;
    }
    let first = x.narrow(0, 0, 1)?;
    let zeros = first.zeros_like()?;
    for (rows, row) in [("equal", &first), ("zero", &zeros)] {
        for i in sizes(&spec[rows]) {
            let parts: Vec<Tensor> = (0..x.dim(0)?)
                .map(|j| if i == j { Ok(row.clone()) } else { x.narrow(0, j, 1) })
                .collect::<Result<_>>()?;
            x = Tensor::cat(&parts, 0)?;
        }
    }
    Ok(x)
}

/// Checks that `ours`, which takes a case and its inputs, has the values and gradients of all
/// cases, of which there are at least `least`, with either backward pass.
pub fn agree(
    golden: &Value,
    least: usize,
    ours: impl Fn(&Value, &[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    assert!(golden["torch"].as_str().expect("a version").starts_with("2.15"));
    let cases = golden["cases"].as_array().expect("cases");
    assert!(cases.len() >= least, "{} cases", cases.len());
    for (i, case) in cases.iter().enumerate() {
        let trained = sizes(&case["trained"]);
        for (dtype, eps) in DTYPES {
            // The kernels' twins sum in f32, too: what is left of parts that cancel is rounded more.
            let twins = dtype == DType::F32 && !kd_kernels::kernels_enabled();
            let eps = if twins { 10. * eps } else { eps };
            let context = format!("case {i}, {}, {dtype:?}", case["loss"]);
            let mut xs = Vec::new();
            for (j, spec) in case["inputs"].as_array().expect("inputs").iter().enumerate() {
                let x = input(spec)?.to_dtype(dtype)?;
                xs.push(if trained.contains(&j) { Var::from_tensor(&x)?.into_inner() } else { x });
            }
            let value = ours(case, &xs)?;
            let expected = case["value"].as_f64().expect("a value");
            let got = flat(&value)?[0];
            assert!(
                (got - expected).abs() <= eps * expected.abs(),
                "{context}: {got}, expected {expected}"
            );
            let (candle, swift) = (ours(case, &xs)?.backward()?, kd_kernels::backward(&value)?);
            for (j, expected) in trained.iter().zip(case["grads"].as_array().expect("gradients")) {
                let (got, expected) =
                    (flat(candle.get(&xs[*j]).expect("a gradient"))?, numbers(expected));
                assert_eq!(
                    flat(swift.get(&xs[*j]).expect("a gradient"))?,
                    got,
                    "{context}: the backward passes differ"
                );
                let largest = expected.iter().fold(0f64, |m, g| m.max(g.abs()));
                assert_eq!(got.len(), expected.len(), "{context}");
                for (k, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert!(
                        (got - expected).abs() <= eps * largest,
                        "{context}: gradient {j} at {k}: {got}, expected {expected}"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Checks that the first case of each of these losses has this value, but for this share of it.
pub fn first_values_are(golden: &Value, share: f64, known: &[(&str, f64)]) {
    let cases = golden["cases"].as_array().expect("cases");
    for (name, value) in known {
        let case = cases.iter().find(|c| c["loss"] == *name).expect("a case");
        let oracle = case["value"].as_f64().expect("a value");
        assert!((oracle - value).abs() < share * value, "{name}: {oracle}, expected {value}");
    }
}
