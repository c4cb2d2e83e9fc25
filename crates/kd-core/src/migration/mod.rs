//! Moving a teacher's parameters into a student: by copying, where the two are alike, and by
//! truncation, by strongest units, by averages of blocks, or by a learnt projection where the
//! student is narrower.
//!
//! [`Migration`] are the ways that take no training; [`ProjectedMlp`] is the one that does.
//! [`Anchored`](crate::method::Anchored) keeps a student near the parameters that were moved into
//! it. All of them are for multi-layer perceptrons of one depth.

mod blocks;
mod projected;

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub use projected::ProjectedMlp;

use crate::model::mlp::MlpSpec;
use crate::{Error, Result, inherit};

/// A way to a student's parameters that computes them from the teacher's at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Migration {
    /// Every tensor as it is; the two networks have one shape.
    Copy,
    /// The leading rows and columns of every tensor.
    Truncate,
    /// Of each hidden layer the strongest units: see [`inherit::narrowed`].
    Strongest,
    /// Each unit of the student is the mean of a block of adjacent units of its teacher: their
    /// incoming weights and biases are averaged, their outgoing weights summed, so that nothing is
    /// lost where the units of a block are alike. Block i of s from a layer of t units has the
    /// units ⌊i t / s⌋ to ⌊(i + 1) t / s⌋ − 1.
    Average,
}

impl Migration {
    /// Checks that this teacher's parameters can be moved into this student.
    ///
    /// # Errors
    /// Bad input when the two differ in inputs, classes or depth, or a hidden layer of the student
    /// is the wider one; for [`Migration::Copy`] when one has another width.
    pub fn check(self, teacher: &MlpSpec, student: &MlpSpec) -> Result<()> {
        check_shapes(teacher, student)?;
        if self == Self::Copy && teacher.hidden != student.hidden {
            return Err(Error::bad_input(format!(
                "migration: copy: expected the teacher's hidden layers {:?}, got {:?}",
                teacher.hidden, student.hidden
            )));
        }
        Ok(())
    }

    /// The student's parameters from those of its teacher, both of an
    /// [`Mlp`](crate::model::mlp::Mlp): `layers.{i}.weight [out, in]` and `layers.{i}.bias [out]`.
    ///
    /// # Errors
    /// As [`Migration::check`], and bad input that names a tensor which the teacher lacks or which
    /// is smaller than its description says.
    pub fn apply(
        self,
        tensors: &BTreeMap<String, Tensor>,
        teacher: &MlpSpec,
        student: &MlpSpec,
    ) -> Result<BTreeMap<String, Tensor>> {
        self.check(teacher, student)?;
        match self {
            Self::Copy | Self::Truncate => shapes(student)
                .into_iter()
                .map(|(name, dims)| {
                    let tensor = cut(&name, part(tensors, &name)?, &dims)?;
                    Ok((name, tensor))
                })
                .collect(),
            Self::Strongest => {
                inherit::narrowed(tensors, teacher, student, student.hidden.len() + 1)
            }
            Self::Average => blocks::averaged(tensors, teacher, student),
        }
    }
}

/// The leading part of `tensor`, of shape `dims`. `name` is the student's, for the message.
///
/// # Errors
/// Bad input when `tensor` has another number of dimensions, or is smaller in one.
pub fn cut(name: &str, tensor: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if tensor.rank() != dims.len() || tensor.dims().iter().zip(dims).any(|(t, s)| t < s) {
        let got = tensor.dims();
        return Err(Error::bad_input(format!(
            "{name}: expected a teacher's tensor of at least {dims:?}, got {got:?}"
        )));
    }
    let mut part = tensor.clone();
    for (axis, &size) in dims.iter().enumerate() {
        part = part.narrow(axis, 0, size)?;
    }
    Ok(part.force_contiguous()?)
}

/// Checks that a perceptron could begin as a narrower copy of another one.
fn check_shapes(teacher: &MlpSpec, student: &MlpSpec) -> Result<()> {
    let alike = (teacher.inputs, teacher.classes, teacher.hidden.len())
        == (student.inputs, student.classes, student.hidden.len());
    if alike && student.hidden.iter().zip(&teacher.hidden).all(|(narrow, wide)| narrow <= wide) {
        return Ok(());
    }
    let words = |spec: &MlpSpec| format!("{}-{:?}-{}", spec.inputs, spec.hidden, spec.classes);
    Err(Error::bad_input(format!(
        "migration: expected a teacher of the same inputs, depth and classes, with hidden layers at least as wide as those of {}, got {}",
        words(student),
        words(teacher)
    )))
}

/// The tensors of a perceptron, by layer: name and shape.
fn shapes(spec: &MlpSpec) -> Vec<(String, Vec<usize>)> {
    let widths: Vec<usize> = [spec.inputs]
        .into_iter()
        .chain(spec.hidden.iter().copied())
        .chain([spec.classes])
        .collect();
    widths
        .windows(2)
        .enumerate()
        .flat_map(|(i, w)| {
            [
                (format!("layers.{i}.weight"), vec![w[1], w[0]]),
                (format!("layers.{i}.bias"), vec![w[1]]),
            ]
        })
        .collect()
}

/// The teacher's tensor of this name.
fn part<'a>(tensors: &'a BTreeMap<String, Tensor>, name: &str) -> Result<&'a Tensor> {
    tensors
        .get(name)
        .ok_or_else(|| Error::bad_input(format!("the teacher: expected a tensor {name}, got none")))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::Init;

    use super::*;
    use crate::model::mlp::{Mlp, WeightInit};
    use crate::model::{Mode, Model};
    use crate::params::{self, Params};
    use crate::{Seed, init};

    pub(super) fn spec(inputs: usize, hidden: &[usize], classes: usize) -> MlpSpec {
        MlpSpec {
            inputs,
            hidden: hidden.to_vec(),
            classes,
            dropout_input: 0.,
            dropout_hidden: 0.,
            init: WeightInit::HeNormal,
        }
    }

    /// Parameters without zeros among them.
    pub(super) fn drawn(spec: &MlpSpec, seed: u64) -> Result<BTreeMap<String, Tensor>> {
        let (params, vb) = Params::seeded(Seed(seed), &Device::Cpu);
        Mlp::new(spec, vb)?;
        let hint = Init::Randn { mean: 0.1, stdev: 0.4 };
        params
            .snapshot()?
            .into_iter()
            .map(|(name, t)| {
                let t = init::draw(hint, &name, t.shape(), Seed(seed), DType::F32, &Device::Cpu)?;
                Ok((name, t))
            })
            .collect()
    }

    pub(super) fn inputs(n: usize, width: usize) -> Result<Tensor> {
        let values: Vec<f32> = (0..n * width).map(|i| (i as f32 * 0.7).sin()).collect();
        Ok(Tensor::from_vec(values, (n, width), &Device::Cpu)?)
    }

    pub(super) fn logits(
        spec: &MlpSpec,
        tensors: BTreeMap<String, Tensor>,
    ) -> Result<Vec<Vec<f32>>> {
        let net = params::build_frozen(tensors, &Device::Cpu, |vb| Mlp::new(spec, vb))?;
        Ok(net.forward(&inputs(6, spec.inputs)?, &[], Mode::Evaluate)?.logits.to_vec2()?)
    }

    const ALL: [Migration; 4] =
        [Migration::Copy, Migration::Truncate, Migration::Strongest, Migration::Average];

    #[test]
    fn after_copying_the_10_5_2_student_gives_its_teachers_outputs() -> Result<()> {
        let toy = spec(10, &[5], 2);
        let teacher = drawn(&toy, 1)?;
        let other = drawn(&toy, 2)?;
        assert_ne!(logits(&toy, other)?, logits(&toy, teacher.clone())?);
        let student = Migration::Copy.apply(&teacher, &toy, &toy)?;
        assert_eq!(logits(&toy, student)?, logits(&toy, teacher)?);
        Ok(())
    }

    #[test]
    fn every_way_makes_a_student_as_wide_as_its_teacher_compute_the_same() -> Result<()> {
        let net = spec(7, &[6, 5], 3);
        let teacher = drawn(&net, 3)?;
        let expected = logits(&net, teacher.clone())?;
        for way in ALL {
            let found = logits(&net, way.apply(&teacher, &net, &net)?)?;
            for (a, b) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!((a - b).abs() < 1e-5, "{way:?}: {a} {b}");
            }
        }
        Ok(())
    }

    #[test]
    fn truncation_keeps_the_leading_rows_and_columns() -> Result<()> {
        let (wide, narrow) = (spec(7, &[6, 5], 3), spec(7, &[4, 2], 3));
        let teacher = drawn(&wide, 4)?;
        let student = Migration::Truncate.apply(&teacher, &wide, &narrow)?;
        let w = teacher["layers.1.weight"].to_vec2::<f32>()?;
        let expected: Vec<Vec<f32>> = w[..2].iter().map(|row| row[..4].to_vec()).collect();
        assert_eq!(student["layers.1.weight"].to_vec2::<f32>()?, expected);
        assert_eq!(student["layers.2.weight"].dims(), [3, 2]);
        assert_eq!(student.len(), 6);
        Ok(())
    }

    #[test]
    fn networks_that_do_not_fit_and_missing_tensors_are_named() -> Result<()> {
        let wide = spec(7, &[6, 5], 3);
        let teacher = drawn(&wide, 5)?;
        for way in ALL {
            for student in [spec(8, &[6, 5], 3), spec(7, &[6], 3), spec(7, &[6, 6], 3)] {
                let error = way.apply(&teacher, &wide, &student).expect_err("no fit");
                assert!(error.is_bad_input());
                let text = error.to_string();
                assert!(
                    text.contains("migration: expected a teacher of the same inputs"),
                    "{text}"
                );
            }
            let mut without = teacher.clone();
            without.remove("layers.1.bias");
            let text = way.apply(&without, &wide, &wide).expect_err("missing").to_string();
            assert!(text.contains("layers.1.bias"), "{way:?}: {text}");
        }
        let text = Migration::Copy
            .apply(&teacher, &wide, &spec(7, &[6, 4], 3))
            .expect_err("another width")
            .to_string();
        assert!(text.contains("copy: expected the teacher's hidden layers [6, 5]"), "{text}");
        Ok(())
    }
}
