//! A perceptron whose parameters are a learnt projection of a frozen, wider teacher's: the
//! generator of weight distillation (Lin et al. 2021) for perceptrons.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;

use super::{check_shapes, part, shapes};
use crate::Result;
use crate::model::mlp::{Mlp, MlpSpec};
use crate::model::{About, Mode, Model, Outputs};
use crate::weight_map::{GeneratedWeight, Maps, Start, WeightMap, map};

/// A student whose parameters are computed at every step. Each tensor is `W ⊙ tanh(O θ Iᵀ) + B` of
/// the teacher's θ of the same name; O and I stand only where the two networks have other widths.
/// Deviation from the paper: every tensor has its own maps, and there is one teacher layer to each
/// of the student's.
///
/// Parameters: `generator.{tensor}.output`, `.input`, `.scale` and `.shift`.
pub struct ProjectedMlp {
    spec: MlpSpec,
    weights: Vec<(String, GeneratedWeight)>,
    about: About,
}

impl ProjectedMlp {
    /// The student `student` over the tensors of a trained teacher; its parameters are drawn
    /// through `vb`.
    ///
    /// # Errors
    /// Bad input when the two do not fit (see [`Migration::check`](super::Migration::check)) or the
    /// teacher lacks a tensor.
    pub fn new(
        tensors: &BTreeMap<String, Tensor>,
        teacher: &MlpSpec,
        student: &MlpSpec,
        start: Start,
        vb: &VarBuilder,
    ) -> Result<Self> {
        check_shapes(teacher, student)?;
        let mut weights = Vec::new();
        for (name, dims) in shapes(student) {
            let own = vb.pp("generator").pp(&name);
            let theirs = part(tensors, &name)?;
            let of = theirs.dims();
            let between = |what: &str, axis: usize| -> Result<Option<Tensor>> {
                match (dims.get(axis), of.get(axis)) {
                    (Some(to), Some(from)) if to != from => {
                        Ok(Some(map(&own, what, *to, *from, start)?))
                    }
                    _ => Ok(None),
                }
            };
            let maps = Maps {
                output: between("output", 0)?,
                input: between("input", 1)?,
                ..Maps::default()
            };
            let of_teacher = WeightMap::new(std::slice::from_ref(theirs), maps)?;
            weights.push((name, GeneratedWeight::new(of_teacher, &dims, &own)?));
        }
        // What it declares is what the ordinary student does.
        let zeros = VarBuilder::zeros(DType::F32, vb.device());
        let about = Mlp::new(student, zeros)?.about().clone();
        Ok(Self { spec: student.clone(), weights, about })
    }

    /// The tensors of an ordinary [`Mlp`] that computes the same, without a graph.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn materialise(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(self.computed()?.into_iter().map(|(name, t)| (name, t.detach())).collect())
    }

    fn computed(&self) -> Result<HashMap<String, Tensor>> {
        self.weights.iter().map(|(name, weight)| Ok((name.clone(), weight.evaluate()?))).collect()
    }
}

impl Model for ProjectedMlp {
    fn about(&self) -> &About {
        &self.about
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        let vb = VarBuilder::from_tensors(self.computed()?, DType::F32, xs.device());
        Mlp::new(&self.spec, vb)?.forward(xs, taps, mode)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::tests::{drawn, inputs, logits, spec};
    use super::*;
    use crate::Seed;
    use crate::params::Params;

    #[test]
    fn a_materialised_student_computes_what_the_projected_one_does() -> Result<()> {
        let (wide, narrow) = (spec(7, &[6, 5], 3), spec(7, &[4, 2], 3));
        let teacher = drawn(&wide, 1)?;
        let (_, vb) = Params::seeded(Seed(1), &Device::Cpu);
        let student = ProjectedMlp::new(&teacher, &wide, &narrow, Start::Random, &vb)?;
        let found =
            student.forward(&inputs(6, 7)?, &[], Mode::Evaluate)?.logits.to_vec2::<f32>()?;
        // A materialised tensor lies in memory in the order of its rows and a computed one need
        // not, and Candle's own product sums in an order that depends on it.
        let expected = logits(&narrow, student.materialise()?)?;
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        Ok(())
    }

    #[test]
    fn every_parameter_of_the_generator_gets_a_gradient_and_the_teacher_none() -> Result<()> {
        let (wide, narrow) = (spec(7, &[6, 5], 3), spec(7, &[4, 2], 3));
        let (params, vb) = Params::seeded(Seed(2), &Device::Cpu);
        let student = ProjectedMlp::new(&drawn(&wide, 2)?, &wide, &narrow, Start::Identity, &vb)?;
        let out = student.forward(&inputs(6, 7)?, &[], Mode::Evaluate)?.logits;
        let gradients = kd_kernels::backward(&out.sqr()?.sum_all()?)?;
        // Output and input maps of the weights of three layers, two of them on both sides, and
        // those of two biases; scale and shift of six tensors.
        assert_eq!(params.named().len(), 4 + 2 + 12);
        for (name, var) in params.named() {
            assert!(gradients.get(&var).is_some(), "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_teacher_that_is_narrower_is_refused() -> Result<()> {
        let (wide, narrow) = (spec(7, &[6], 3), spec(7, &[4], 3));
        let (_, vb) = Params::seeded(Seed(3), &Device::Cpu);
        let Err(error) = ProjectedMlp::new(&drawn(&narrow, 3)?, &narrow, &wide, Start::Random, &vb)
        else {
            panic!("a narrower teacher was taken");
        };
        assert!(error.is_bad_input(), "{error}");
        Ok(())
    }
}
