//! Learnt maps from a frozen teacher's weights to one weight of a student: the part of weight
//! distillation (Lin et al. 2021) that does not depend on the network.

use candle_core::{Tensor, Var};
use candle_nn::{Init, VarBuilder};
use kd_kernels::multiply_add::tanh_multiply_add;
use kd_kernels::weighted_sum::weighted_sum;
use kd_kernels::{Activation, linear::linear};
use serde::{Deserialize, Serialize};

use crate::Result;

/// How a map begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Normal with the deviation of Glorot and Bengio 2010, as released: a map with parameters of
    /// its own begins as a random projection.
    Random,
    /// The identity, cut or continued by zeros, and the mean of the layers: the student begins near
    /// a part of its teacher.
    Identity,
}

/// The map `what`, `[to, from]`, drawn through `vb`.
///
/// # Errors
/// When `vb` has it in another shape.
pub fn map(vb: &VarBuilder, what: &str, to: usize, from: usize, start: Start) -> Result<Tensor> {
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

/// The teacher's instances of one weight, and the maps over them: `O · (Σ_k c_k θ_k) · Iᵀ`.
pub struct WeightMap {
    /// The teacher's instances θ, `[K, ..]`.
    instances: Tensor,
    maps: Maps,
}

/// The maps of a [`WeightMap`]. A map that is missing is the identity.
#[derive(Default)]
pub struct Maps {
    /// O, `[O_s, O_t]`: from the teacher's rows to the student's.
    pub output: Option<Tensor>,
    /// I, `[I_s, I_t]`: from the teacher's columns to the student's; none for vectors.
    pub input: Option<Tensor>,
    /// Weights c of the instances, `[1, K]`; without them the first instance stands for all.
    pub layers: Option<Tensor>,
    /// A map before them, `[K, K]`.
    pub mix: Option<Tensor>,
}

impl WeightMap {
    /// The maps over these instances, which are taken as constants. All have one shape.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn new(instances: &[Tensor], maps: Maps) -> Result<Self> {
        let constants: Vec<Tensor> = instances.iter().map(Tensor::detach).collect();
        Ok(Self { instances: Tensor::stack(&constants, 0)?, maps })
    }

    /// The mapped weight, with a graph to the maps.
    ///
    /// # Errors
    /// When a map does not fit the instances.
    pub fn apply(&self) -> Result<Tensor> {
        let product = |x: &Tensor, w: &Tensor| linear(x, w, None, Activation::None);
        let mixed = match (&self.maps.layers, &self.maps.mix) {
            (None, _) => self.instances.get(0)?,
            // Everything is linear in each factor: mixing the layers first makes the other maps K
            // times cheaper.
            (Some(layers), None) => weighted_sum(&self.instances, &layers.flatten_all()?)?,
            (Some(layers), Some(mix)) => {
                weighted_sum(&self.instances, &product(layers, mix)?.flatten_all()?)?
            }
        };
        let columns = match &self.maps.input {
            Some(input) => product(&mixed, input)?,
            None => mixed,
        };
        match (&self.maps.output, columns.rank()) {
            (None, _) => Ok(columns),
            (Some(output), 1) => Ok(product(&columns.unsqueeze(0)?, output)?.squeeze(0)?),
            (Some(output), _) => Ok(product(&columns.t()?, output)?.t()?.contiguous()?),
        }
    }
}

/// A weight of a generated student: `W ⊙ tanh(Z) + B`, where Z is the mapped teacher's weight.
pub struct GeneratedWeight {
    map: WeightMap,
    scale: Tensor,
    shift: Tensor,
}

impl GeneratedWeight {
    /// The weight of shape `dims` over a map, with W and B, which begin at 1 and 0, drawn through
    /// `vb` as `scale` and `shift`.
    ///
    /// # Errors
    /// When `vb` has them in another shape.
    pub fn new(map: WeightMap, dims: &[usize], vb: &VarBuilder) -> Result<Self> {
        let scale = vb.get_with_hints(dims, "scale", Init::Const(1.))?;
        let shift = vb.get_with_hints(dims, "shift", Init::Const(0.))?;
        Ok(Self { map, scale, shift })
    }

    /// The weight now, with a graph to its parameters.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn evaluate(&self) -> Result<Tensor> {
        Ok(tanh_multiply_add(&self.map.apply()?, &self.scale, &self.shift)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::Seed;
    use crate::params::Params;

    fn matrix(rows: usize, columns: usize, step: f32) -> Result<Tensor> {
        let values: Vec<f32> = (0..rows * columns).map(|i| (i as f32 * step).sin()).collect();
        Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
    }

    #[test]
    fn maps_that_are_missing_are_the_identity_and_the_others_are_matrix_products() -> Result<()> {
        let (theta, output, input) = (matrix(4, 3, 0.7)?, matrix(2, 4, 0.3)?, matrix(5, 3, 1.1)?);
        let of = |maps| WeightMap::new(std::slice::from_ref(&theta), maps)?.apply();
        assert_eq!(of(Maps::default())?.to_vec2::<f32>()?, theta.to_vec2::<f32>()?);
        let mapped = of(Maps {
            output: Some(output.clone()),
            input: Some(input.clone()),
            ..Maps::default()
        })?;
        let expected = output.matmul(&theta)?.matmul(&input.t()?)?.to_vec2::<f32>()?;
        for (a, b) in mapped.to_vec2::<f32>()?.iter().flatten().zip(expected.iter().flatten()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn a_generated_weight_that_begins_at_the_identity_is_the_hyperbolic_tangent_of_a_cut()
    -> Result<()> {
        let (_, vb) = Params::seeded(Seed(1), &Device::Cpu);
        let theta = matrix(4, 3, 0.7)?;
        let maps =
            Maps { output: Some(map(&vb, "output", 2, 4, Start::Identity)?), ..Maps::default() };
        let weight = GeneratedWeight::new(
            WeightMap::new(std::slice::from_ref(&theta), maps)?,
            &[2, 3],
            &vb,
        )?;
        let expected = theta.narrow(0, 0, 2)?.tanh()?.to_vec2::<f32>()?;
        for (a, b) in
            weight.evaluate()?.to_vec2::<f32>()?.iter().flatten().zip(expected.iter().flatten())
        {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        Ok(())
    }
}
