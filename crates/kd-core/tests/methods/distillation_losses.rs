//! Losses of distillation methods against PyTorch's values and gradients in
//! `../golden/distillation_losses.json`, which `scripts/oracles/distillation_losses.py` writes.

use candle_core::{Result, Tensor};
use kd_core::loss;
use kd_core::loss::{decoupled, relational};
use serde_json::Value;

use super::golden_cases::{agree, first_values_are, labels, option};

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/distillation_losses.json"))
        .expect("the golden file is JSON")
}

/// Our loss of that name.
fn ours(case: &Value, xs: &[Tensor]) -> Result<Tensor> {
    let dkd =
        |f: &dyn Fn(&Tensor, f64) -> Result<Tensor>| f(&labels(case)?, option(case, "temperature"));
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
fn values_and_gradients_are_those_of_pytorch() -> Result<()> {
    agree(&golden(), 30, ours)
}

/// The value of the first case of each loss is known from the official programs too.
#[test]
fn the_oracle_agrees_with_the_values_of_the_reference_programs() {
    first_values_are(
        &golden(),
        1e-12,
        &[
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
        ],
    );
}
