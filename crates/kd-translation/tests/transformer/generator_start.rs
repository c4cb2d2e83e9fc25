//! Where generated students begin, and the plainer start of a teacher that is cut.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_translation::generated_student::truncation::truncate;
use kd_translation::generated_student::{Form, Start};
use kd_translation::transformer::{Norm, TransformerSpec};

use super::generator::{generated, teacher, whole};
use super::{close, drawn, formula, spec, stack};

/// The teacher's tensors, none of them plain zeros or ones.
fn uneven(spec: &TransformerSpec) -> Result<BTreeMap<String, Tensor>> {
    let tensors = drawn(spec, 2)?.0.snapshot()?;
    tensors
        .into_iter()
        .map(|(name, t)| Ok((name.clone(), formula::value(&format!("teacher.{name}"), t.dims())?)))
        .collect()
}

#[test]
fn the_released_encoder_begins_as_the_hyperbolic_tangent_of_the_teachers() -> Result<()> {
    let teacher = TransformerSpec { norm: Norm::Pre, ..teacher(4) };
    let tensors = uneven(&teacher)?;
    for (student, start) in [(teacher.tiny(), Start::Random), (teacher.small(), Start::Identity)] {
        let made = generated(&student, &teacher, &tensors, &whole(Form::ReleasedCode, start))?
            .1
            .materialise()?;
        let encoder: Vec<_> =
            made.iter().filter(|(name, _)| name.starts_with("encoder.")).collect();
        assert_eq!(encoder.len(), 2 * 16 + 3);
        for (name, weight) in encoder {
            // The last normalisation is the teacher's own.
            let expected = if name.starts_with("encoder.layer_norm") {
                tensors[name].clone()
            } else {
                tensors[name].tanh()?
            };
            close(weight, &expected, 1e-6, name)?;
        }
        let table = "decoder.output_projection.weight";
        if student.decoder.width == teacher.decoder.width {
            close(&made[table], &tensors[table], 0., table)?;
        }
    }
    Ok(())
}

#[test]
fn the_last_normalisation_of_a_narrower_decoder_begins_fresh() -> Result<()> {
    let teacher = TransformerSpec { norm: Norm::Pre, ..teacher(4) };
    let made = generated(
        &teacher.tiny(),
        &teacher,
        &uneven(&teacher)?,
        &whole(Form::Paper, Start::Random),
    )?
    .1
    .materialise()?;
    assert_eq!(formula::values(&made["decoder.layer_norm.weight"])?, [1.; 8]);
    assert_eq!(formula::values(&made["decoder.layer_norm.bias"])?, [0.; 8]);
    Ok(())
}

#[test]
fn maps_begin_random_with_the_deviation_of_glorot_and_layers_with_equal_weights() -> Result<()> {
    let teacher = spec(20, 20, stack(1, 64, 128), stack(4, 64, 128));
    for form in [Form::ReleasedCode, Form::Paper] {
        let (params, _) = generated(
            &teacher.tiny(),
            &teacher,
            &drawn(&teacher, 2)?.0.snapshot()?,
            &whole(form, Start::Random),
        )?;
        let mut maps = 0;
        for (name, var) in params.named() {
            let values = formula::values(var.as_tensor())?;
            match name.rsplit('.').next() {
                Some("scale") => assert!(values.iter().all(|&v| v == 1.), "{name}"),
                Some("shift") => assert!(values.iter().all(|&v| v == 0.), "{name}"),
                Some("layers") => {
                    assert!(values.iter().all(|&v| v == 1. / var.dims()[1] as f64), "{name}")
                }
                Some("input" | "output") if values.len() >= 2048 => {
                    let expected = (2. / (var.dims()[0] + var.dims()[1]) as f64).sqrt();
                    let got =
                        (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
                    // The deviation of the deviation of n draws is 1/√(2n) of it: 1.6 % for the
                    // smallest.
                    assert!(
                        (got / expected - 1.).abs() < 0.08,
                        "{form:?}, {name}: deviation {got}, expected {expected}"
                    );
                    maps += 1;
                }
                _ => {}
            }
        }
        assert!(maps > 20, "{form:?}: {maps}");
    }
    Ok(())
}

/// Leading rows and columns, continued by zeros.
fn cut(values: &[f64], from: &[usize], to: &[usize]) -> Vec<f64> {
    let (columns, wide) = (to.get(1).copied().unwrap_or(1), from.get(1).copied().unwrap_or(1));
    let at = |row: usize, column: usize| {
        if row < from[0] && column < wide { values[row * wide + column] } else { 0. }
    };
    (0..to[0]).flat_map(|row| (0..columns).map(move |column| at(row, column))).collect()
}

#[test]
fn an_identity_start_is_the_bent_mean_of_the_layers_cut_or_continued_by_zeros() -> Result<()> {
    let teacher = teacher(5);
    // Narrower, as wide, and with a wider feed-forward block than the teacher's.
    let wider = TransformerSpec { decoder: stack(2, 16, 40), ..teacher.clone() };
    let tensors = uneven(&teacher)?;
    for student in [teacher.tiny(), teacher.small(), wider] {
        let each = teacher.decoder.layers / student.decoder.layers;
        for form in [Form::ReleasedCode, Form::Paper] {
            for (name, weight) in
                generated(&student, &teacher, &tensors, &whole(form, Start::Identity))?
                    .1
                    .materialise()?
            {
                let parts: Vec<&str> = name.splitn(4, '.').collect();
                let layers: Vec<String> = match parts[..] {
                    ["decoder", "layers", layer, rest] => {
                        let layer: usize = layer.parse().expect("a number");
                        (each * layer..each * (layer + 1))
                            .map(|i| format!("decoder.layers.{i}.{rest}"))
                            .collect()
                    }
                    _ => vec![name.clone()],
                };
                let mut mean = vec![0.; tensors[&layers[0]].elem_count()];
                for layer in &layers {
                    let values = formula::values(&tensors[layer])?;
                    mean.iter_mut()
                        .zip(values)
                        .for_each(|(sum, v)| *sum += v / layers.len() as f64);
                }
                let expected = cut(&mean, tensors[&layers[0]].dims(), weight.dims());
                let tanh =
                    |v: f64| if name.ends_with("output_projection.weight") { v } else { v.tanh() };
                for (got, expected) in formula::values(&weight)?.into_iter().zip(expected) {
                    assert!(
                        (got - tanh(expected)).abs() < 1e-6,
                        "{form:?}, {name}: {got}, expected {}",
                        tanh(expected)
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn truncation_keeps_the_first_layer_of_each_subset_and_leading_rows_and_columns() -> Result<()> {
    let teacher = teacher(5);
    let tensors = uneven(&teacher)?;
    for student in [teacher.tiny(), teacher.small()] {
        let each = teacher.decoder.layers / student.decoder.layers;
        let fresh = drawn(&student, 9)?.0.snapshot()?;
        let found = truncate(&fresh, &student, &tensors, &teacher)?;
        assert!(found.keys().eq(fresh.keys()));
        for (name, weight) in found {
            let from = match name.strip_prefix("decoder.layers.") {
                Some(rest) => {
                    let (layer, rest) = rest.split_once('.').expect("a layer");
                    format!(
                        "decoder.layers.{}.{rest}",
                        each * layer.parse::<usize>().expect("a number")
                    )
                }
                None => name.clone(),
            };
            let whole = &tensors[&from];
            assert_eq!(weight.dims(), fresh[&name].dims());
            assert_eq!(
                formula::values(&weight)?,
                cut(&formula::values(whole)?, whole.dims(), weight.dims()),
                "{name} from {from}"
            );
        }
    }
    Ok(())
}

#[test]
fn truncation_refuses_a_teacher_that_is_smaller_or_lacks_a_tensor() -> Result<()> {
    let (small, large) = (spec(20, 20, stack(2, 8, 24), stack(2, 8, 24)), teacher(2));
    let error = |tensors: &BTreeMap<String, Tensor>, teacher: &TransformerSpec| {
        truncate(&drawn(&large, 1)?.0.snapshot()?, &large, tensors, teacher).map(|_| String::new())
    };
    let e = error(&drawn(&small, 1)?.0.snapshot()?, &small).expect_err("a smaller teacher");
    assert!(e.is_bad_input() && e.to_string().contains("at least [20, 16], got [20, 8]"), "{e}");
    let mut tensors = drawn(&large, 1)?.0.snapshot()?;
    tensors.insert("encoder.layers.1.fc2.bias".into(), Tensor::new(0f32, &Device::Cpu)?);
    assert!(
        error(&tensors, &large)
            .expect_err("a scalar")
            .to_string()
            .contains("encoder.layers.1.fc2.bias")
    );
    tensors.remove("encoder.layers.1.fc2.bias");
    assert!(
        error(&tensors, &large)
            .expect_err("a gap")
            .to_string()
            .contains("encoder.layers.1.fc2.bias")
    );
    Ok(())
}
