//! Losses on logits of newer methods against PyTorch's values and gradients in
//! `../golden/newer_losses.json`, which `scripts/oracles/newer_losses.py` writes.

use candle_core::{Device, Result, Tensor};
use kd_core::loss;
use kd_core::loss::decoupled::{non_target_class, target_class};
use kd_core::loss::entropy_weights::{entropy_weights, weighted_softened_kl};
use kd_core::loss::learnt_temperature::softened_kl_at;
use kd_core::loss::logit_differences::{logit_differences, prediction_weights};
use kd_core::loss::normalised::{other_classes, trusted_labels};
use kd_core::loss::pearson::{inter_class, intra_class};
use kd_core::loss::refined::{masked_correlation, sample_confidence};
use kd_core::loss::standardised;
use kd_core::loss::transport::{Sinkhorn, transport_of_others};
use serde_json::Value;

use super::golden_cases::{agree, first_values_are, labels, numbers, option};

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/newer_losses.json"))
        .expect("the golden file is JSON")
}

/// Our loss of that name.
fn ours(case: &Value, xs: &[Tensor]) -> Result<Tensor> {
    let (s, t) = (&xs[0], &xs[1]);
    let number = |name: &str| option(case, name);
    let temperature = || number("temperature");
    match case["loss"].as_str().expect("a name") {
        "standardised_kl" => loss::softened_kl(&standardised(s)?, &standardised(t)?, temperature()),
        "standardised_target_class" => {
            target_class(&standardised(s)?, &standardised(t)?, &labels(case)?, temperature())
        }
        "standardised_non_target_class" => {
            non_target_class(&standardised(s)?, &standardised(t)?, &labels(case)?, temperature())
        }
        "inter_class" => inter_class(s, t, temperature()),
        "intra_class" => intra_class(s, t, temperature()),
        "transformed_teacher" => loss::transformed_teacher(s, t, number("exponent")),
        "weighted_transformed_teacher" => {
            loss::weighted_transformed_teacher(s, t, number("exponent"))
        }
        "perception_divergence" => loss::perception_divergence(s, t, temperature()),
        "soft_cross_entropy" => loss::soft_cross_entropy(s, t, temperature()),
        "weighted_logit_differences" => {
            let (temperature, exponent) = (number("weights_temperature"), number("exponent"));
            logit_differences(s, t, &prediction_weights(t, temperature, exponent)?)
        }
        "sample_confidence" => sample_confidence(s, t, &labels(case)?, temperature()),
        "masked_correlation" => masked_correlation(s, t, &labels(case)?, temperature()),
        "normalised_temperature" => loss::normalised_temperature(s, t, temperature()),
        "trusted_labels" => trusted_labels(s, t, &labels(case)?),
        "other_classes" => other_classes(s, t, &labels(case)?, temperature()),
        "alpha_beta" => {
            loss::alpha_beta_divergence(s, t, number("alpha"), number("beta"), temperature())
        }
        "entropy_weighted_kl" => {
            let weights = entropy_weights(s, t, number("entropy_temperature"), number("bound"))?;
            weighted_softened_kl(s, t, temperature(), &weights)
        }
        "learnt_temperature" => {
            let sigmoid = (xs[2].neg()?.exp()? + 1.)?.recip()?;
            softened_kl_at(s, t, &sigmoid.affine(number("span"), number("least"))?)
        }
        "transport" => {
            let costs = match &case["options"]["costs"] {
                Value::Null => (xs[2].abs()?.neg()?.exp()?.neg()? + 1.)?,
                rows => {
                    let rows = rows.as_array().expect("rows");
                    let all: Vec<f64> = rows.iter().flat_map(numbers).collect();
                    Tensor::from_vec(all, (rows.len(), rows.len()), &Device::Cpu)?
                }
            };
            let iterations = number("iterations") as usize;
            let sinkhorn = Sinkhorn { regularisation: number("regularisation"), iterations };
            transport_of_others(s, t, &labels(case)?, &costs, temperature(), sinkhorn)
        }
        "gram_direction" => loss::gram_direction(s, t, number("ridge")),
        other => panic!("{other}: no such loss"),
    }
}

#[test]
fn values_and_gradients_are_those_of_pytorch() -> Result<()> {
    agree(&golden(), 82, ours)
}

/// The value of the first case of each loss is known from the official programs too.
#[test]
fn the_oracle_agrees_with_the_values_of_the_reference_programs() {
    first_values_are(
        &golden(),
        1e-12,
        &[
            ("standardised_kl", 0.8699469865347276),
            ("standardised_target_class", 0.04489664478876533),
            ("standardised_non_target_class", 0.9316509541354293),
            ("inter_class", 15.36246209866628),
            ("intra_class", 15.64525100435468),
            ("transformed_teacher", 1.541847174456732),
            ("weighted_transformed_teacher", 10.06069561730098),
            ("perception_divergence", 0.06241516872624844),
            ("soft_cross_entropy", 2.446603667863543),
            ("weighted_logit_differences", 6.464330865178548),
            ("sample_confidence", 0.3006490654106149),
            ("masked_correlation", 3.784550028081155),
            ("trusted_labels", 0.1947720524925115),
            ("other_classes", 3.911197463380592),
            ("alpha_beta", 0.2648071525002401),
            ("transport", 0.04935903296999752),
            ("gram_direction", 0.2186058298692729),
        ],
    );
    // This one's program adds 1e-10 in its logarithms.
    first_values_are(&golden(), 1e-9, &[("entropy_weighted_kl", 10.5873946466189)]);
}
