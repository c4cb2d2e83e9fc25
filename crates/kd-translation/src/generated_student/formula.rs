//! The maps from the teacher's weights of a class to one weight of the student.

use candle_core::{Device, Tensor, Var};
use candle_nn::{Init, VarBuilder};
use kd_kernels::multiply_add::{multiply_add, tanh_multiply_add};
use kd_kernels::weighted_sum::weighted_sum;
use kd_kernels::{Activation, linear::linear};

use super::classes::{Half, WeightSource};
use super::spec::{Form, GeneratorSpec, Start};
use kd_core::{Error, Result};

/// One weight as a function of the generator's parameters.
pub(super) enum Formula {
    /// W ⊙ tanh(θ) + B: `squashed` is tanh(θ), which does not change.
    ElementWise { squashed: Tensor, scale: Tensor, shift: Tensor },
    /// W ⊙ tanh(Σ_k c_k · O·θ_k·Iᵀ) + B.
    Mapped { stacked: Stacked, maps: Maps, scale: Tensor, shift: Tensor },
    /// θ·Iᵀ, without tanh, scale or shift: the output projection of a narrower decoder.
    Projected { table: Tensor, input: Tensor },
    /// The teacher's own, which does not train: the output projection of a decoder of the teacher's
    /// width.
    Copied(Tensor),
}

/// The teacher's instances as one tensor: `[K, ..]`.
pub(super) struct Stacked(Tensor);

/// The learnt maps.
pub(super) struct Maps {
    /// W_Oᵀ, `[O_s, O_t]`.
    output: Tensor,
    /// W_Iᵀ, `[I_s, I_t]`; none for vectors.
    input: Option<Tensor>,
    /// Weights of the layers, `[1, K]`.
    layers: Tensor,
    /// A map before them, `[K, K]`; in the released form only.
    mix: Option<Tensor>,
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
            begin(vb, what, to, from, spec.start)
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
                (false, false) => {
                    let maps =
                        Maps::of_columns(map(&own, "input", dims[1], teacher[1])?, table.device())?;
                    Self::Mapped {
                        stacked: Stacked::new(instances)?,
                        maps,
                        scale: scale()?,
                        shift: shift()?,
                    }
                }
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
        let maps = Maps {
            output: map(place, "output", dims[0], teacher[0])?,
            input: (dims.len() == 2)
                .then(|| map(place, "input", dims[1], teacher[1]))
                .transpose()?,
            layers: place.get_with_hints((1, k), "layers", Init::Const(1. / k as f64))?,
            mix: (spec.form == Form::ReleasedCode).then(|| map(place, "mix", k, k)).transpose()?,
        };
        Ok(Self::Mapped {
            stacked: Stacked::new(instances)?,
            maps,
            scale: scale()?,
            shift: shift()?,
        })
    }

    /// The weight, with a graph to the parameters.
    pub fn evaluate(&self) -> Result<Tensor> {
        match self {
            Self::ElementWise { squashed, scale, shift } => {
                Ok(multiply_add(squashed, scale, shift)?)
            }
            Self::Mapped { stacked, maps, scale, shift } => {
                Ok(tanh_multiply_add(&maps.apply(stacked)?, scale, shift)?)
            }
            Self::Projected { table, input } => Ok(linear(table, input, None, Activation::None)?),
            Self::Copied(tensor) => Ok(tensor.clone()),
        }
    }
}

/// A map `[to, from]` at its beginning.
fn begin(vb: &VarBuilder, what: &str, to: usize, from: usize, start: Start) -> Result<Tensor> {
    let stdev = (2. / (to + from) as f64).sqrt();
    match start {
        Start::Random => {
            Ok(vb.get_with_hints((to, from), what, Init::Randn { mean: 0., stdev })?)
        }
        Start::Identity => {
            let fresh = !vb.contains_tensor(what);
            let map = vb.get_with_hints((to, from), what, Init::Const(0.))?;
            if fresh && map.is_variable() {
                let ones: Vec<f32> =
                    (0..to * from).map(|at| f32::from(u8::from(at / from == at % from))).collect();
                Var::from_tensor(&map)?.set(&Tensor::from_vec(ones, (to, from), map.device())?)?;
            }
            Ok(map)
        }
    }
}

impl Stacked {
    fn new(instances: &[Tensor]) -> Result<Self> {
        let constants: Vec<Tensor> = instances.iter().map(Tensor::detach).collect();
        Ok(Self(Tensor::stack(&constants, 0)?))
    }
}

impl Maps {
    /// Only columns are mapped: word vectors, where each row is a word.
    fn of_columns(input: Tensor, device: &Device) -> Result<Self> {
        let layers = Tensor::ones((1, 1), candle_core::DType::F32, device)?;
        Ok(Self {
            output: Tensor::zeros(0, candle_core::DType::F32, device)?,
            input: Some(input),
            layers,
            mix: None,
        })
    }

    fn apply(&self, stacked: &Stacked) -> Result<Tensor> {
        let product = |x: &Tensor, w: &Tensor| linear(x, w, None, Activation::None);
        let mixed = match &self.mix {
            None if self.output.elem_count() == 0 => stacked.0.get(0)?,
            mix => {
                // Everything before the tanh is linear in each factor: mixing the layers first
                // makes the other maps K times cheaper.
                let weights = match mix {
                    Some(mix) => product(&self.layers, mix)?,
                    None => self.layers.clone(),
                };
                weighted_sum(&stacked.0, &weights.flatten_all()?)?
            }
        };
        let columns = match &self.input {
            Some(input) => product(&mixed, input)?,
            None => mixed,
        };
        if self.output.elem_count() == 0 {
            return Ok(columns);
        }
        match columns.rank() {
            1 => Ok(product(&columns.unsqueeze(0)?, &self.output)?.squeeze(0)?),
            _ => Ok(product(&columns.t()?, &self.output)?.t()?.contiguous()?),
        }
    }
}
