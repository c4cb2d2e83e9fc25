//! The multi-layer perceptron of Hinton, Vinyals and Dean 2015, section 3.

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use kd_kernels::dropout::dropout;
use kd_kernels::{Activation, linear::linear};
use serde::{Deserialize, Serialize};

use super::{About, Activated, MAX_WEIGHTS, Mode, Model, Outputs, Tap};
use crate::{Error, Result};

/// What an [`Mlp`] is made of. Every field is needed, and an unknown one is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MlpSpec {
    /// Features of an input.
    pub inputs: usize,
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// Classes.
    pub classes: usize,
    /// Probability with which an input is dropped in training, in [0, 1).
    pub dropout_input: f64,
    /// Probability with which a hidden unit is dropped in training, in [0, 1).
    pub dropout_hidden: f64,
    /// How weights begin. Biases begin at 0.
    pub init: WeightInit,
}

/// Initial weights of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightInit {
    /// Normal with variance 2 / inputs (He et al. 2015), the usual choice before a ReLU.
    HeNormal,
    /// Normal with this standard deviation; Hinton et al. 2012 used 0.01.
    Normal(f64),
}

/// Dense layers with ReLU between them, and inverted dropout on the inputs and the hidden units
/// while training.
///
/// Parameters: `layers.{i}.weight [out, in]`, `layers.{i}.bias [out]`. Taps: `hidden.{i}`, each
/// hidden layer after its ReLU and before dropout, `[batch, units]`.
pub struct Mlp {
    spec: MlpSpec,
    layers: Vec<(Tensor, Tensor)>,
    about: About,
}

impl Mlp {
    /// Builds the network; `vb` decides whether its parameters train.
    ///
    /// # Errors
    /// Bad input when the specification makes no sense.
    pub fn new(spec: &MlpSpec, vb: VarBuilder) -> Result<Self> {
        spec.check()?;
        let widths = spec.widths();
        let layers = widths.windows(2).enumerate().map(|(i, w)| {
            let vb = vb.pp("layers").pp(i);
            let stdev = match spec.init {
                WeightInit::HeNormal => (2. / w[0] as f64).sqrt(),
                WeightInit::Normal(std) => std,
            };
            let weight =
                vb.get_with_hints((w[1], w[0]), "weight", Init::Randn { mean: 0., stdev })?;
            Ok((weight, vb.get_with_hints(w[1], "bias", Init::Const(0.))?))
        });
        let taps = spec.hidden.iter().enumerate().map(|(i, &channels)| Tap {
            name: format!("hidden.{i}"),
            channels,
            stride: 0,
            activated: Activated::After,
            norm: None,
        });
        let about = About {
            taps: taps.collect(),
            classes: spec.classes,
            multiply_adds: spec.multiply_adds(),
        };
        Ok(Self { layers: layers.collect::<Result<_>>()?, about, spec: spec.clone() })
    }

    /// What it was built from.
    pub fn spec(&self) -> &MlpSpec {
        &self.spec
    }
}

impl MlpSpec {
    /// Checks that the numbers make a network.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        for (name, p) in
            [("dropout-input", self.dropout_input), ("dropout-hidden", self.dropout_hidden)]
        {
            if !(0. ..1.).contains(&p) {
                return Err(Error::bad_input(format!(
                    "{name}: expected a probability in [0, 1), got {p}"
                )));
            }
        }
        if self.inputs == 0 || self.classes < 2 || self.hidden.contains(&0) {
            let Self { inputs, hidden, classes, .. } = self;
            return Err(Error::bad_input(format!(
                "network: expected layers of at least 1 unit and at least 2 classes, got {inputs}-{hidden:?}-{classes}"
            )));
        }
        let weights = self.multiply_adds();
        if weights > MAX_WEIGHTS {
            return Err(Error::bad_input(format!(
                "hidden: expected at most 2^31 weights in all, got {weights} with {:?}",
                self.hidden
            )));
        }
        if let WeightInit::Normal(std) = self.init
            && !(std.is_finite() && std > 0.)
        {
            return Err(Error::bad_input(format!(
                "init: expected a positive standard deviation, got {std}"
            )));
        }
        Ok(())
    }

    /// Products of a weight and an activation in one pass of one input: the weights of all layers,
    /// biases apart.
    pub fn multiply_adds(&self) -> u64 {
        self.widths()
            .windows(2)
            .fold(0, |sum, w| (w[0] as u64).saturating_mul(w[1] as u64).saturating_add(sum))
    }

    fn widths(&self) -> Vec<usize> {
        [self.inputs].into_iter().chain(self.hidden.iter().copied()).chain([self.classes]).collect()
    }
}

impl Model for Mlp {
    fn about(&self) -> &About {
        &self.about
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        let wanted = taps.iter().map(|name| self.tap_index(name)).collect::<Result<Vec<_>>>()?;
        let drop = |xs: Tensor, p: f64, place: usize| -> Result<Tensor> {
            match mode {
                Mode::Train(step) if p > 0. => {
                    Ok(dropout(&xs, p, step.stream(&format!("dropout.{place}")))?)
                }
                _ => Ok(xs),
            }
        };
        let mut hidden = Vec::with_capacity(self.spec.hidden.len());
        let mut xs = drop(xs.clone(), self.spec.dropout_input, 0)?;
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            if i == self.spec.hidden.len() {
                xs = linear(&xs, weight, Some(bias), Activation::None)?;
            } else {
                xs = linear(&xs, weight, Some(bias), Activation::Relu)?;
                hidden.push(xs.clone());
                xs = drop(xs, self.spec.dropout_hidden, i + 1)?;
            }
        }
        Ok(Outputs { logits: xs, taps: wanted.into_iter().map(|i| hidden[i].clone()).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiply_adds_are_the_weights_and_sizes_that_no_memory_holds_are_refused() {
        let spec = |hidden: &[usize]| {
            let hidden = hidden.to_vec();
            MlpSpec {
                inputs: 784,
                hidden,
                classes: 10,
                dropout_input: 0.,
                dropout_hidden: 0.,
                init: WeightInit::HeNormal,
            }
        };
        assert_eq!(spec(&[1200, 1200]).multiply_adds(), 784 * 1200 + 1200 * 1200 + 1200 * 10);
        assert!(spec(&[1200, 1200]).check().is_ok());
        for hidden in [vec![50_000, 50_000], vec![usize::MAX, usize::MAX]] {
            let text = spec(&hidden).check().expect_err("too many weights").to_string();
            assert!(text.contains("hidden: expected at most 2^31 weights"), "{text}");
        }
    }
}
