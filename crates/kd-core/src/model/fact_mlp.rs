//! A perceptron that takes facts beside its input: fact augmentation.

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use kd_kernels::{Activation, linear::linear};
use serde::{Deserialize, Serialize};

use super::{About, MAX_WEIGHTS, Mlp, MlpSpec, Mode, Model, Outputs};
use crate::{Error, Result};

/// What a [`FactMlp`] is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FactMlpSpec {
    /// Numbers of a fact vector.
    pub facts: usize,
    /// The perceptron that works on the augmented input.
    pub network: MlpSpec,
}

/// `net(x + E f)` for an input x with its facts f behind it: rows of `[batch, inputs + facts]`.
///
/// E is learnt, `facts.weight [inputs, facts]`, and begins at 0, so that the network begins as the
/// plain one; where there are as many facts as inputs it is the identity and has no parameter.
/// The perceptron's parameters and taps are those of an [`Mlp`].
pub struct FactMlp {
    network: Mlp,
    embedding: Option<Tensor>,
    inputs: usize,
    facts: usize,
    about: About,
}

impl FactMlpSpec {
    /// Checks that the numbers make a network.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        self.network.check()?;
        let weights = (self.network.inputs as u64).saturating_mul(self.facts as u64);
        if self.facts == 0 || weights > MAX_WEIGHTS {
            return Err(Error::bad_input(format!(
                "facts: expected at least 1, and at most 2^31 weights before {} inputs, got {}",
                self.network.inputs, self.facts
            )));
        }
        Ok(())
    }
}

impl FactMlp {
    /// Builds the network; `vb` decides whether its parameters train.
    ///
    /// # Errors
    /// Bad input when the specification makes no sense.
    pub fn new(spec: &FactMlpSpec, vb: VarBuilder) -> Result<Self> {
        spec.check()?;
        let (inputs, facts) = (spec.network.inputs, spec.facts);
        let learnt = inputs != facts;
        let embedding = learnt
            .then(|| vb.get_with_hints((inputs, facts), "facts.weight", Init::Const(0.)))
            .transpose()?;
        let network = Mlp::new(&spec.network, vb)?;
        let more = if learnt { (inputs * facts) as u64 } else { 0 };
        let mut about = network.about().clone();
        about.multiply_adds += more;
        Ok(Self { network, embedding, inputs, facts, about })
    }
}

impl Model for FactMlp {
    fn about(&self) -> &About {
        &self.about
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        let width = xs.dim(1)?;
        if width != self.inputs + self.facts {
            return Err(Error::bad_input(format!(
                "an example: expected {} inputs and {} facts, got {width} numbers",
                self.inputs, self.facts
            )));
        }
        let x = xs.narrow(1, 0, self.inputs)?;
        let facts = xs.narrow(1, self.inputs, self.facts)?.contiguous()?;
        let embedded = match &self.embedding {
            Some(weight) => linear(&facts, weight, None, Activation::None)?,
            None => facts,
        };
        self.network.forward(&x.add(&embedded)?, taps, mode)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;

    use super::*;
    use crate::Seed;
    use crate::model::mlp::WeightInit;
    use crate::params::{self, Params};

    fn spec(inputs: usize, facts: usize) -> FactMlpSpec {
        let network = MlpSpec {
            inputs,
            hidden: vec![4],
            classes: 3,
            dropout_input: 0.,
            dropout_hidden: 0.,
            init: WeightInit::HeNormal,
        };
        FactMlpSpec { facts, network }
    }

    fn rows(width: usize) -> Result<Tensor> {
        let values: Vec<f32> = (0..2 * width).map(|i| (i as f32 * 0.9).cos()).collect();
        Ok(Tensor::from_vec(values, (2, width), &Device::Cpu)?)
    }

    /// What the network of these tensors says of `xs`.
    fn logits(
        spec: &FactMlpSpec,
        tensors: BTreeMap<String, Tensor>,
        xs: &Tensor,
    ) -> Result<Vec<Vec<f32>>> {
        let net = params::build_frozen(tensors, &Device::Cpu, |vb| FactMlp::new(spec, vb))?;
        Ok(net.forward(xs, &[], Mode::Evaluate)?.logits.to_vec2()?)
    }

    fn close(a: &[Vec<f32>], b: &[Vec<f32>]) {
        for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn it_begins_as_the_plain_network_and_then_works_on_x_plus_e_f() -> Result<()> {
        let spec = spec(5, 2);
        let (params, vb) = Params::seeded(Seed(1), &Device::Cpu);
        FactMlp::new(&spec, vb)?;
        let mut tensors = params.snapshot()?;
        let plain: BTreeMap<_, _> = tensors
            .iter()
            .filter(|(n, _)| *n != "facts.weight")
            .map(|(n, t)| (n.clone(), t.clone()))
            .collect();
        let net = params::build_frozen(plain, &Device::Cpu, |vb| Mlp::new(&spec.network, vb))?;
        let of_plain = |x: &Tensor| -> Result<Vec<Vec<f32>>> {
            Ok(net.forward(&x.contiguous()?, &[], Mode::Evaluate)?.logits.to_vec2()?)
        };
        let xs = rows(7)?;
        let x = xs.narrow(1, 0, 5)?;
        close(&logits(&spec, tensors.clone(), &xs)?, &of_plain(&x)?);
        let e: Vec<f32> = (0..10).map(|i| i as f32 * 0.1 - 0.4).collect();
        let e = Tensor::from_vec(e, (5, 2), &Device::Cpu)?;
        tensors.insert("facts.weight".to_owned(), e.clone());
        let augmented = (x + xs.narrow(1, 5, 2)?.matmul(&e.t()?)?)?;
        close(&logits(&spec, tensors, &xs)?, &of_plain(&augmented)?);
        Ok(())
    }

    #[test]
    fn with_as_many_facts_as_inputs_the_map_is_the_identity_and_has_no_parameter() -> Result<()> {
        let spec = spec(3, 3);
        let (params, vb) = Params::seeded(Seed(2), &Device::Cpu);
        let net = FactMlp::new(&spec, vb)?;
        assert!(params.get("facts.weight").is_none());
        let xs = rows(6)?;
        let sum = (xs.narrow(1, 0, 3)? + xs.narrow(1, 3, 3)?)?;
        let plain = params::build_frozen(params.snapshot()?, &Device::Cpu, |vb| {
            Mlp::new(&spec.network, vb)
        })?;
        close(
            &net.forward(&xs, &[], Mode::Evaluate)?.logits.to_vec2()?,
            &plain.forward(&sum, &[], Mode::Evaluate)?.logits.to_vec2()?,
        );
        Ok(())
    }

    #[test]
    fn rows_of_another_width_and_no_facts_are_refused() -> Result<()> {
        let (_, vb) = Params::seeded(Seed(3), &Device::Cpu);
        let net = FactMlp::new(&spec(5, 2), vb.clone())?;
        let Err(error) = net.forward(&rows(6)?, &[], Mode::Evaluate) else { panic!("taken") };
        assert!(error.to_string().contains("expected 5 inputs and 2 facts, got 6"), "{error}");
        assert!(FactMlp::new(&spec(5, 0), vb).is_err());
        Ok(())
    }
}
