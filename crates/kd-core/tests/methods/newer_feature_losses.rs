//! Losses of the newer methods on features against PyTorch's values and gradients in
//! `../golden/newer_features.json`, which `scripts/oracles/newer_features.py` writes.

use candle_core::{DType, Result, Tensor};
use kd_core::loss::alignment::class_alignments;
use kd_core::loss::cells::{cell_logits, over_cells};
use kd_core::loss::multi_level::{batch_correlation, class_correlation};
use kd_core::loss::{
    class_activation, decoupled, gaussian_distances, information_theoretic, n_to_one,
    norm_and_direction, softened_kl,
};
use serde_json::Value;

use super::golden_cases::{agree, first_values_are, input, labels, numbers, option};

pub(super) fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/newer_features.json"))
        .expect("the golden file is JSON")
}

/// Our loss of that name.
fn ours(case: &Value, xs: &[Tensor]) -> Result<Tensor> {
    let number = |name: &str| option(case, name);
    match case["loss"].as_str().expect("a name") {
        "feature_correlation" => {
            information_theoretic::feature_correlation(&xs[0], &xs[1], number("alpha"))
        }
        "mutual_information" => information_theoretic::mutual_information(&xs[0], &xs[1]),
        "over_cells" => {
            let grids: Vec<usize> =
                numbers(&case["options"]["grids"]).into_iter().map(|side| side as usize).collect();
            let labels = labels(case)?;
            let student = cell_logits(&xs[0], &xs[2], xs.get(4), &grids)?;
            let teacher = cell_logits(&xs[1], &xs[3], xs.get(5), &grids)?;
            let part = case["options"]["part"].as_str().expect("a part");
            over_cells(&student, &teacher, &labels, number("complementary"), |s, t, y| match part {
                "kl" => softened_kl(s, t, 4.),
                "target" => decoupled::target_class(s, t, y, 4.),
                "non_target" => decoupled::non_target_class(s, t, y, 4.),
                other => panic!("{other}: no such part"),
            })
        }
        "class_activation" => {
            let normalised = case["options"]["normalised"].as_bool().expect("a switch");
            class_activation(&xs[0], &xs[1], number("side") as usize, normalised)
        }
        "norm_and_direction" => {
            let labels = labels(case)?;
            norm_and_direction(&xs[0], &xs[1], &xs[2], &labels)
        }
        "n_to_one" => n_to_one(&xs[0], &xs[1]),
        "class_correlation" => class_correlation(&xs[0], &xs[1], number("temperature")),
        "batch_correlation" => batch_correlation(&xs[0], &xs[1], number("temperature")),
        "gaussian_distances" => {
            let [means, deviations] = gaussian_distances(&xs[0], &xs[1], number("grid") as usize)?;
            Ok(if case["options"]["part"] == "means" { means } else { deviations })
        }
        other => panic!("{other}: no such loss"),
    }
}

#[test]
fn values_and_gradients_are_those_of_pytorch() -> Result<()> {
    agree(&golden(), 42, ours)
}

/// The value of the first case of each loss is known from a program in numpy too.
#[test]
fn the_oracle_agrees_with_values_that_were_computed_without_pytorch() {
    let known = [
        ("feature_correlation", 2.173827228654361),
        ("mutual_information", 0.2237543316094668),
        ("over_cells", 0.3826570626565974),
        ("class_activation", 0.9927013032970847),
        ("norm_and_direction", 0.9720850186862035),
        ("class_correlation", 0.01565409524514482),
        ("batch_correlation", 0.001397686106166899),
        ("gaussian_distances", 5.606938578168311),
    ];
    let mut golden = golden();
    first_values_are(&golden, 1e-12, &known);
    let cases = golden["cases"].as_array_mut().expect("cases");
    cases.retain(|case| case["options"]["part"] == "deviations");
    first_values_are(&golden, 1e-12, &[("gaussian_distances", 0.09047167412195113)]);
}

#[test]
fn alignments_of_classes_are_those_of_centred_kernels() -> Result<()> {
    let golden = &golden()["alignments"];
    let inputs = golden["inputs"].as_array().expect("inputs");
    let rows = golden["rows"].as_array().expect("rows");
    for (dtype, eps) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
        let classes = inputs.iter().map(|spec| input(spec)?.to_dtype(dtype));
        let found = class_alignments(classes.collect::<Result<_>>()?)?;
        assert_eq!(found.len(), rows.len());
        for (found, expected) in found.iter().flatten().zip(rows.iter().flat_map(numbers)) {
            assert!((found - expected).abs() < eps, "{dtype:?}: {found}, expected {expected}");
        }
    }
    Ok(())
}
