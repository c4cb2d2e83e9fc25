//! Initial weights of a perceptron from a wider one: knowledge handed over by weights, beside soft
//! targets.

use std::collections::BTreeMap;

use candle_core::{D, Tensor};

use crate::model::mlp::MlpSpec;
use crate::{Error, Result};

/// Checks that a student can begin as [`narrowed`] layers of this teacher.
///
/// # Errors
/// Bad input when `layers` is not 1 to the number of dense layers, or the two networks differ in
/// inputs, classes or depth, or a hidden layer of the student is the wider one.
pub fn check(teacher: &MlpSpec, student: &MlpSpec, layers: usize) -> Result<()> {
    Error::unless_within("inherit-layers", layers, 1..=student.hidden.len() + 1)?;
    let alike = (teacher.inputs, teacher.classes, teacher.hidden.len())
        == (student.inputs, student.classes, student.hidden.len());
    if !(alike && student.hidden.iter().zip(&teacher.hidden).all(|(narrow, wide)| narrow <= wide)) {
        return Err(Error::bad_input(format!(
            "inherit-layers: expected a teacher with hidden layers at least as wide as {:?}, inputs and classes alike, got {:?}",
            student.hidden, teacher.hidden
        )));
    }
    Ok(())
}

/// The first `layers` dense layers of a student as units of its teacher: each hidden layer keeps
/// the [`strongest`] of the teacher's units, in the teacher's order, as many as the student has
/// there, chosen layer by layer.
///
/// `teacher` holds the parameters of an [`Mlp`](crate::model::mlp::Mlp), `layers.{i}.weight [out,
/// in]` and `layers.{i}.bias [out]`; the result those of the student's inherited layers. Where a
/// layer loses inputs, its weights are multiplied by (teacher's units) / (student's units) before
/// it: a sum over units that are all alike is then what it was. Nothing is lost where no layer is
/// narrower: the whole network is then the teacher's.
///
/// # Errors
/// As [`check`], and bad input when a tensor is missing or two layers do not meet.
pub fn narrowed(
    teacher: &BTreeMap<String, Tensor>,
    teacher_spec: &MlpSpec,
    student: &MlpSpec,
    layers: usize,
) -> Result<BTreeMap<String, Tensor>> {
    check(teacher_spec, student, layers)?;
    let part = |layer: usize, what: &str| {
        let name = format!("layers.{layer}.{what}");
        teacher.get(&name).ok_or_else(|| {
            Error::bad_input(format!("the teacher: expected a tensor {name}, got none"))
        })
    };
    let mut inherited = BTreeMap::new();
    let mut inputs: Option<Tensor> = None;
    for layer in 0..layers {
        let (mut weight, mut bias) = (part(layer, "weight")?.clone(), part(layer, "bias")?.clone());
        if let (Some(kept), Some(above)) = (&inputs, layer.checked_sub(1)) {
            let scale = teacher_spec.hidden[above] as f64 / student.hidden[above] as f64;
            weight = (weight.index_select(kept, D::Minus1)? * scale)?;
        }
        if let Some(&units) = student.hidden.get(layer) {
            let rows = strongest(part(layer, "weight")?, part(layer + 1, "weight")?, units)?;
            let rows = Tensor::from_vec(rows, units, weight.device())?;
            (weight, bias) = (weight.index_select(&rows, 0)?, bias.index_select(&rows, 0)?);
            inputs = Some(rows);
        }
        inherited.insert(format!("layers.{layer}.weight"), weight);
        inherited.insert(format!("layers.{layer}.bias"), bias);
    }
    Ok(inherited)
}

/// The `keep` strongest of a layer's units, in ascending order. The strength of unit j is |w_j|
/// |v_j|, the Euclidean lengths of its incoming weights `incoming[j, :]` and its outgoing weights
/// `outgoing[:, j]`: with a ReLU, weights c w_j and v_j / c make the same network for any c > 0,
/// and the same strength. Of units of one strength the first ones are kept.
///
/// # Errors
/// Bad input when the layers do not meet, or there are fewer units than `keep`.
pub fn strongest(incoming: &Tensor, outgoing: &Tensor, keep: usize) -> Result<Vec<u32>> {
    let (units, found) = (incoming.dim(0)?, outgoing.dim(D::Minus1)?);
    if units != found || keep > units {
        return Err(Error::bad_input(format!(
            "units: expected at least {keep}, and inputs of the next layer, got {units} and {found}"
        )));
    }
    let length = |t: &Tensor, along: usize| -> Result<Vec<f32>> {
        Ok(t.sqr()?.sum(along)?.sqrt()?.to_vec1()?)
    };
    let strength: Vec<f32> =
        length(incoming, 1)?.iter().zip(length(outgoing, 0)?).map(|(w, v)| w * v).collect();
    let mut order: Vec<u32> = (0..units as u32).collect();
    // A stable sort: among equals the first stay first.
    order.sort_by(|&a, &b| strength[b as usize].total_cmp(&strength[a as usize]));
    order.truncate(keep);
    order.sort_unstable();
    Ok(order)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::model::mlp::{Mlp, WeightInit};
    use crate::model::{Mode, Model};
    use crate::params::{self, Params};
    use crate::{Seed, init};

    fn spec(hidden: &[usize]) -> MlpSpec {
        MlpSpec {
            inputs: 7,
            hidden: hidden.to_vec(),
            classes: 3,
            dropout_input: 0.,
            dropout_hidden: 0.,
            init: WeightInit::HeNormal,
        }
    }

    fn drawn(spec: &MlpSpec, seed: u64) -> Result<BTreeMap<String, Tensor>> {
        let (params, vb) = Params::seeded(Seed(seed), &Device::Cpu);
        Mlp::new(spec, vb)?;
        let mut tensors = params.snapshot()?;
        for (name, t) in &mut tensors {
            // Biases too, which begin at 0.
            let hint = candle_nn::Init::Randn { mean: 0.1, stdev: 0.5 };
            *t = init::draw(hint, name, t.shape(), Seed(seed), DType::F32, &Device::Cpu)?;
        }
        Ok(tensors)
    }

    fn logits(spec: &MlpSpec, tensors: BTreeMap<String, Tensor>) -> Result<Vec<Vec<f32>>> {
        let xs = Tensor::from_vec(
            (0..35).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<f32>>(),
            (5, 7),
            &Device::Cpu,
        )?;
        let net = params::build_frozen(tensors, &Device::Cpu, |vb| Mlp::new(spec, vb))?;
        Ok(net.forward(&xs, &[], Mode::Evaluate)?.logits.to_vec2()?)
    }

    #[test]
    fn a_student_as_wide_as_its_teacher_begins_as_its_teacher() -> Result<()> {
        let teacher = drawn(&spec(&[6, 5]), 1)?;
        let student = narrowed(&teacher, &spec(&[6, 5]), &spec(&[6, 5]), 3)?;
        assert_eq!(logits(&spec(&[6, 5]), student)?, logits(&spec(&[6, 5]), teacher)?);
        Ok(())
    }

    #[test]
    fn where_all_units_of_a_layer_are_alike_the_narrow_network_computes_the_same() -> Result<()> {
        let mut teacher = drawn(&spec(&[6, 4]), 2)?;
        // Every unit of a layer is its first one: equal rows, and equal columns of the next layer.
        for (name, t) in &mut teacher {
            let first_column =
                |t: &Tensor| t.narrow(1, 0, 1)?.broadcast_as(t.shape())?.contiguous();
            let first_row = |t: &Tensor| t.narrow(0, 0, 1)?.broadcast_as(t.shape())?.contiguous();
            *t = match name.as_str() {
                "layers.0.weight" | "layers.0.bias" | "layers.1.bias" => first_row(t)?,
                "layers.1.weight" => first_row(&first_column(t)?)?,
                "layers.2.weight" => first_column(t)?,
                _ => t.clone(),
            };
        }
        let student = narrowed(&teacher, &spec(&[6, 4]), &spec(&[3, 1]), 3)?;
        let (wide, narrow) = (logits(&spec(&[6, 4]), teacher)?, logits(&spec(&[3, 1]), student)?);
        for (a, b) in wide.iter().flatten().zip(narrow.iter().flatten()) {
            assert!((a - b).abs() <= 1e-5 * (1. + a.abs()), "{wide:?} {narrow:?}");
        }
        Ok(())
    }

    #[test]
    fn every_number_is_that_of_the_definition_written_as_loops() -> Result<()> {
        let (wide, narrow) = (spec(&[8, 6]), spec(&[5, 4]));
        let teacher = drawn(&wide, 3)?;
        let w: Vec<Vec<Vec<f32>>> = (0..3)
            .map(|i| Ok(teacher[&format!("layers.{i}.weight")].to_vec2()?))
            .collect::<Result<_>>()?;
        let b: Vec<Vec<f32>> = (0..3)
            .map(|i| Ok(teacher[&format!("layers.{i}.bias")].to_vec1()?))
            .collect::<Result<_>>()?;
        let kept: Vec<Vec<usize>> = (0..2)
            .map(|l| {
                let strength = |j: usize| {
                    let incoming: f32 = w[l][j].iter().map(|x| x * x).sum();
                    let outgoing: f32 = w[l + 1].iter().map(|row| row[j] * row[j]).sum();
                    incoming * outgoing
                };
                let stronger =
                    |j: usize| (0..w[l].len()).filter(|&k| strength(k) > strength(j)).count();
                (0..w[l].len()).filter(|&j| stronger(j) < narrow.hidden[l]).collect()
            })
            .collect();
        let student = narrowed(&teacher, &wide, &narrow, 3)?;
        for l in 0..3 {
            let rows: Vec<usize> = if l < 2 { kept[l].clone() } else { (0..3).collect() };
            let columns: Vec<usize> = if l > 0 { kept[l - 1].clone() } else { (0..7).collect() };
            let scale =
                if l > 0 { wide.hidden[l - 1] as f32 / narrow.hidden[l - 1] as f32 } else { 1. };
            let expected: Vec<Vec<f32>> = rows
                .iter()
                .map(|&r| columns.iter().map(|&c| w[l][r][c] * scale).collect())
                .collect();
            assert_eq!(
                student[&format!("layers.{l}.weight")].to_vec2::<f32>()?,
                expected,
                "layer {l}"
            );
            let expected: Vec<f32> = rows.iter().map(|&r| b[l][r]).collect();
            assert_eq!(
                student[&format!("layers.{l}.bias")].to_vec1::<f32>()?,
                expected,
                "layer {l}"
            );
        }
        // Fewer layers: the same ones, and no others.
        let first = narrowed(&teacher, &wide, &narrow, 1)?;
        assert_eq!(first.keys().collect::<Vec<_>>(), ["layers.0.bias", "layers.0.weight"]);
        assert_eq!(
            first["layers.0.weight"].to_vec2::<f32>()?,
            student["layers.0.weight"].to_vec2::<f32>()?
        );
        Ok(())
    }

    #[test]
    fn which_units_are_strongest_does_not_depend_on_how_a_relu_unit_is_scaled() -> Result<()> {
        let incoming = Tensor::new(&[[1f32, 0.], [2., 0.], [0., 3.], [1., 1.]], &Device::Cpu)?;
        let outgoing = Tensor::new(&[[9f32, 1., 1., 0.], [0., 0., 1., 0.]], &Device::Cpu)?;
        assert_eq!(strongest(&incoming, &outgoing, 2)?, [0, 2]);
        let scale = Tensor::new(&[0.5f32, 8., 0.25, 4.], &Device::Cpu)?;
        let (incoming, outgoing) =
            (incoming.broadcast_mul(&scale.unsqueeze(1)?)?, outgoing.broadcast_div(&scale)?);
        assert_eq!(strongest(&incoming, &outgoing, 2)?, [0, 2]);
        let alike = Tensor::ones((4, 2), DType::F32, &Device::Cpu)?;
        assert_eq!(
            strongest(&alike, &alike.t()?.contiguous()?, 3)?,
            [0, 1, 2],
            "the first of equals"
        );
        Ok(())
    }

    #[test]
    fn networks_that_do_not_match_are_bad_input() -> Result<()> {
        let teacher = drawn(&spec(&[6, 5]), 4)?;
        let try_with = |student: &MlpSpec, layers| {
            narrowed(&teacher, &spec(&[6, 5]), student, layers).expect_err("no match").to_string()
        };
        for (student, layers, part) in [
            (spec(&[7, 5]), 1, "at least as wide as [7, 5], inputs and classes alike, got [6, 5]"),
            (spec(&[3]), 1, "at least as wide as [3]"),
            (MlpSpec { classes: 2, ..spec(&[3, 3]) }, 1, "classes alike"),
            (spec(&[3, 3]), 0, "inherit-layers: expected 1 to 3, got 0"),
            (spec(&[3, 3]), 4, "inherit-layers: expected 1 to 3, got 4"),
        ] {
            let text = try_with(&student, layers);
            assert!(text.contains(part), "expected {part:?} in {text}");
        }
        let mut without = teacher.clone();
        without.remove("layers.1.weight");
        let text = narrowed(&without, &spec(&[6, 5]), &spec(&[3, 3]), 1)
            .expect_err("a missing tensor")
            .to_string();
        assert!(text.contains("expected a tensor layers.1.weight, got none"), "{text}");
        Ok(())
    }
}
