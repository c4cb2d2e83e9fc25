//! Losses of distillation methods against PyTorch's values and gradients in
//! `../golden/distillation_losses.json`, which `scripts/oracles/distillation_losses.py` writes.

use candle_core::{DType, Device, Result, Tensor, Var};
use kd_core::loss;
use kd_core::loss::{decoupled, relational};
use serde_json::Value;

/// Rounding of f32 and of f64, relative to the value and to the largest part of a gradient. Goldens
/// of gradients have ten digits.
const DTYPES: [(DType, f64); 2] = [(DType::F32, 3e-5), (DType::F64, 1e-9)];

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/distillation_losses.json"))
        .expect("the golden file is JSON")
}

fn numbers(json: &Value) -> Vec<f64> {
    json.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn sizes(json: &Value) -> Vec<usize> {
    numbers(json).into_iter().map(|n| n as usize).collect()
}

fn flat(x: &Tensor) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// The tensor that the oracle's `Input` describes.
fn input(spec: &Value) -> Result<Tensor> {
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

/// Our loss of that name.
fn ours(case: &Value, xs: &[Tensor]) -> Result<Tensor> {
    let options = &case["options"];
    let dkd = |f: &dyn Fn(&Tensor, f64) -> Result<Tensor>| {
        let labels: Vec<u32> = numbers(&options["labels"]).into_iter().map(|y| y as u32).collect();
        f(
            &Tensor::new(labels, &Device::Cpu)?,
            options["temperature"].as_f64().expect("a temperature"),
        )
    };
    match case["loss"].as_str().expect("a name") {
        "attention_transfer" => loss::attention_transfer(&xs[0], &xs[1]),
        "similarity_preserving" => loss::similarity_preserving(&xs[0], &xs[1]),
        "correlation_congruence" => loss::correlation_congruence(&xs[0], &xs[1]),
        "variational_information" => loss::variational_information(&xs[0], &xs[1], &xs[2], 1e-5),
        "relational_distance" => relational::relational_distance(&xs[0], &xs[1]),
        "relational_angle" => relational::relational_angle(&xs[0], &xs[1]),
        "relational" => loss::relational(&xs[0], &xs[1], 25., 50.),
        "probabilistic_transfer" => loss::probabilistic_transfer(&xs[0], &xs[1]),
        "neuron_selectivity" => loss::neuron_selectivity(&xs[0], &xs[1]),
        "hint" => loss::hint(&xs[0], &xs[1]),
        "target_class" => dkd(&|y, t| decoupled::target_class(&xs[0], &xs[1], y, t)),
        "non_target_class" => dkd(&|y, t| decoupled::non_target_class(&xs[0], &xs[1], y, t)),
        "decoupled" => dkd(&|y, t| loss::decoupled(&xs[0], &xs[1], y, t, 1., 8.)),
        other => panic!("{other}: no such loss"),
    }
}

#[test]
fn the_goldens_name_the_torch_version_that_made_them() {
    assert!(golden()["torch"].as_str().expect("a version").starts_with("2.15"));
}

#[test]
fn values_and_gradients_are_those_of_pytorch() -> Result<()> {
    let golden = golden();
    let cases = golden["cases"].as_array().expect("cases");
    assert!(cases.len() > 30);
    for (i, case) in cases.iter().enumerate() {
        let trained = sizes(&case["trained"]);
        for (dtype, eps) in DTYPES {
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

/// The value of the first case of each loss is known from the official programs too.
#[test]
fn the_oracle_agrees_with_the_values_of_the_reference_programs() {
    let golden = golden();
    let known = [
        ("attention_transfer", 2.1149168755852637e-4),
        ("neuron_selectivity", 0.06240815659681287),
        ("similarity_preserving", 0.4687409523569168),
        ("probabilistic_transfer", 0.050703592482251265),
        ("relational", 2.984030507459435),
        ("relational_distance", 0.023127071395535888),
        ("relational_angle", 0.04811707445142076),
        ("correlation_congruence", 3.6531757442801602),
        ("variational_information", 0.905871233847836),
        ("hint", 1.0115227763078578),
        ("target_class", 0.29618223635758667),
        ("non_target_class", 6.018097489839872),
        ("decoupled", 48.44096215507656),
    ];
    for (name, value) in known {
        let case = golden["cases"]
            .as_array()
            .expect("cases")
            .iter()
            .find(|c| c["loss"] == name)
            .expect("a case");
        let oracle = case["value"].as_f64().expect("a value");
        assert!((oracle - value).abs() < 1e-12 * value, "{name}: {oracle}, expected {value}");
    }
}
