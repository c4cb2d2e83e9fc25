//! Networks with declared taps.
//!
//! A network publishes its taps (inner tensors that a distillation method can ask for by name) with the shape each will have,
//! so a method derives its adapters and no shape is typed into a configuration.

pub mod mlp;

pub use mlp::{Mlp, MlpSpec};

use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::seed::StepSeed;
use crate::{Error, Result};

/// How a forward pass runs.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Training: dropout draws its mask from this step's streams; batch-norms use the batch's statistics and move their running ones.
    Train(StepSeed),
    /// Evaluation: no dropout; batch-norms use their running statistics.
    Evaluate,
    /// As in evaluation, but batch-norms use the batch's statistics; the running ones stay as they are. For frozen teachers: ReviewKD's
    /// official CIFAR program leaves its teacher in training mode.
    BatchStatistics,
}

/// Whether a tap is taken before or after the activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activated {
    /// Before: values of either sign.
    Before,
    /// After the ReLU.
    After,
}

/// An inner tensor that a network offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The name by which a method asks for it.
    pub name: String,
    /// Its channels (features, for a dense layer).
    pub channels: usize,
    /// How many input pixels one of its pixels stands for, in each direction; 0 for a tap without spatial extent.
    pub stride: usize,
    /// On which side of the activation function it is taken.
    pub activated: Activated,
}

/// What a forward pass returns.
pub struct Outputs {
    /// Logits, not probabilities: `[batch, classes]`.
    pub logits: Tensor,
    /// The taps that were asked for, in that order.
    pub taps: Vec<Tensor>,
}

/// A network for classification.
pub trait Model: Send + Sync {
    /// The taps it offers, from the input to the output.
    fn taps(&self) -> &[Tap];

    /// How many classes it tells apart.
    fn classes(&self) -> usize;

    /// Multiply-adds of one example's forward pass, in the layers with weights.
    fn multiply_adds(&self) -> u64;

    /// Logits of a batch and the taps named in `taps`, in one pass.
    ///
    /// # Errors
    /// Bad input when a tap is unknown, and a tensor error when `xs` has another shape than the network takes.
    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs>;

    /// Where the tap called `name` stands in [`Model::taps`].
    ///
    /// # Errors
    /// Bad input that lists the taps there are.
    fn tap_index(&self, name: &str) -> Result<usize> {
        let known = self.taps();
        known.iter().position(|t| t.name == name).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|t| t.name.as_str()).collect();
            Error::bad_input(format!("no tap '{name}': this network has {}", names.join(", ")))
        })
    }
}

/// Any network of this crate, as an experiment file or a saved network describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NetworkSpec {
    /// A multi-layer perceptron.
    Mlp(MlpSpec),
}

impl NetworkSpec {
    /// Builds the network; `vb` decides whether its parameters train.
    ///
    /// # Errors
    /// Bad input when the specification makes no sense.
    pub fn build(&self, vb: VarBuilder) -> Result<Box<dyn Model>> {
        match self {
            Self::Mlp(spec) => Ok(Box::new(Mlp::new(spec, vb)?)),
        }
    }
}

impl Model for Box<dyn Model> {
    fn taps(&self) -> &[Tap] {
        (**self).taps()
    }

    fn classes(&self) -> usize {
        (**self).classes()
    }

    fn multiply_adds(&self) -> u64 {
        (**self).multiply_adds()
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        (**self).forward(xs, taps, mode)
    }
}
