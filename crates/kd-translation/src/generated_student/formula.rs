//! The maps from the teacher's weights of a class to one weight of the student.

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use kd_kernels::multiply_add::multiply_add;
use kd_kernels::{Activation, linear::linear};

use super::classes::{Half, WeightSource};
use super::spec::{Form, GeneratorSpec};
use kd_core::weight_map::{GeneratedWeight, Maps, WeightMap, map};
use kd_core::{Error, Result};

/// One weight as a function of the generator's parameters.
pub(super) enum Formula {
    /// W ⊙ tanh(θ) + B: `squashed` is tanh(θ), which does not change.
    ElementWise { squashed: Tensor, scale: Tensor, shift: Tensor },
    /// W ⊙ tanh(Σ_k c_k · O·θ_k·Iᵀ) + B.
    Mapped(GeneratedWeight),
    /// θ·Iᵀ, without tanh, scale or shift: the output projection of a narrower decoder.
    Projected { table: Tensor, input: Tensor },
    /// The teacher's own, which does not train: the output projection of a decoder of the teacher's
    /// width.
    Copied(Tensor),
}

impl Formula {
    /// The formula of the weight `name`, of shape `dims`, with its parameters drawn through `vb`.
    pub fn new(
        name: &str,
        source: &WeightSource,
        dims: &[usize],
        instances: &[Tensor],
        spec: &GeneratorSpec,
        vb: &VarBuilder<'static>,
    ) -> Result<Self> {
        let teacher = instances[0].dims().to_vec();
        if teacher.len() != dims.len() || instances.iter().any(|t| t.dims() != teacher) {
            return Err(Error::bad_input(format!(
                "{name}: expected teacher weights of {} dimensions, got {teacher:?}",
                dims.len()
            )));
        }
        let own = vb.pp("generator").pp(name);
        let scale = || own.get_with_hints(dims, "scale", Init::Const(1.));
        let shift = || own.get_with_hints(dims, "shift", Init::Const(0.));
        let same = instances.len() == 1 && teacher == dims;
        let map = |vb: &VarBuilder, what: &str, to: usize, from: usize| {
            map(vb, what, to, from, spec.start)
        };
        let mapped = |maps: Maps| -> Result<Self> {
            let weights = WeightMap::new(instances, maps)?;
            Ok(Self::Mapped(GeneratedWeight::new(weights, dims, &own)?))
        };
        if source.half == Half::Embeddings {
            let table = instances[0].clone();
            if teacher[0] != dims[0] {
                return Err(Error::bad_input(format!(
                    "{name}: expected the teacher's {} words, got {}",
                    teacher[0], dims[0]
                )));
            }
            return Ok(match (name.ends_with("output_projection.weight"), same) {
                (true, true) => Self::Copied(table),
                (true, false) => {
                    Self::Projected { table, input: map(&own, "input", dims[1], teacher[1])? }
                }
                (false, true) => {
                    Self::ElementWise { squashed: table.tanh()?, scale: scale()?, shift: shift()? }
                }
                // Only columns are mapped: word vectors, where each row is a word.
                (false, false) => mapped(Maps {
                    input: Some(map(&own, "input", dims[1], teacher[1])?),
                    ..Maps::default()
                })?,
            });
        }
        if spec.form == Form::ReleasedCode && source.half == Half::Encoder && same {
            return Ok(Self::ElementWise {
                squashed: instances[0].tanh()?,
                scale: scale()?,
                shift: shift()?,
            });
        }
        let (shared, k) = (vb.pp("generator").pp(&source.class), instances.len());
        let place = if spec.form == Form::Paper { &shared } else { &own };
        mapped(Maps {
            output: Some(map(place, "output", dims[0], teacher[0])?),
            input: (dims.len() == 2)
                .then(|| map(place, "input", dims[1], teacher[1]))
                .transpose()?,
            layers: Some(place.get_with_hints((1, k), "layers", Init::Const(1. / k as f64))?),
            mix: (spec.form == Form::ReleasedCode).then(|| map(place, "mix", k, k)).transpose()?,
        })
    }

    /// The weight, with a graph to the parameters.
    pub fn evaluate(&self) -> Result<Tensor> {
        match self {
            Self::ElementWise { squashed, scale, shift } => {
                Ok(multiply_add(squashed, scale, shift)?)
            }
            Self::Mapped(weight) => weight.evaluate(),
            Self::Projected { table, input } => Ok(linear(table, input, None, Activation::None)?),
            Self::Copied(tensor) => Ok(tensor.clone()),
        }
    }
}
