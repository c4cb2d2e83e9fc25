//! What every network has in common: taps, modes, and what a forward pass returns.

use candle_core::Tensor;

use crate::seed::StepSeed;
use crate::{Error, Result};

/// Height and width of the images that the networks are described for;
/// [`super::Model::multiply_adds`] and strides of taps count from it.
pub(crate) const SIDE: usize = 32;

/// The most weights that a specification may ask for: 2³¹, 8 GiB in float32. Beyond it a size is
/// taken for a slip of the pen, which is refused before memory for it is asked for.
pub const MAX_WEIGHTS: u64 = 1 << 31;

/// How a forward pass runs.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Training: dropout draws its mask from this step's streams; batch-norms use the batch's
    /// statistics and move their running ones.
    Train(StepSeed),
    /// Evaluation: no dropout; batch-norms use their running statistics.
    Evaluate,
    /// As in evaluation, but batch-norms use the batch's statistics; the running ones stay as they
    /// are. For frozen teachers: ReviewKD's official CIFAR program leaves its teacher in
    /// training mode.
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
    /// How many input pixels one of its pixels stands for, in each direction; 0 for a tap without
    /// spatial extent.
    pub stride: usize,
    /// On which side of the activation function it is taken.
    pub activated: Activated,
    /// For a tap before an activation, the batch-norm that makes it, or its last summand, by the
    /// name of its parameters in the network's file: weight and bias say how the values of a
    /// channel are distributed. None elsewhere, and where no single norm makes all channels.
    pub norm: Option<String>,
}

impl Tap {
    /// The same tap, made by this batch-norm.
    #[must_use]
    pub(crate) fn made_by(self, norm: impl Into<String>) -> Self {
        Self { norm: Some(norm.into()), ..self }
    }

    /// Pixels of its map in each direction, where the image has 32; 1 for a tap without spatial
    /// extent.
    pub fn side(&self) -> usize {
        SIDE.checked_div(self.stride).unwrap_or(1)
    }
}

/// What a forward pass returns.
pub struct Outputs {
    /// Logits, not probabilities: `[batch, classes]`.
    pub logits: Tensor,
    /// The taps that were asked for, in that order.
    pub taps: Vec<Tensor>,
}

/// The tap of the map whose mean over the pixels is the tap `pooled`, in networks with a
/// [`Model::classifier`].
pub const LAST: &str = "last";

/// The dense layer that makes logits of what a network has seen. The tensors are those of the
/// network: of one that trains, gradients reach them.
#[derive(Clone)]
pub struct Classifier {
    /// `[classes, channels]`.
    pub weight: Tensor,
    /// `[classes]`.
    pub bias: Tensor,
}

/// What a network says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The taps it offers, from the input to the output.
    pub taps: Vec<Tap>,
    /// How many classes it tells apart.
    pub classes: usize,
    /// Multiply-adds of one example's forward pass, in the layers with weights (convolutions and
    /// dense ones); images have 32×32 pixels.
    pub multiply_adds: u64,
}

/// A network for classification.
pub trait Model: Send + Sync {
    /// What it says of itself.
    fn about(&self) -> &About;

    /// Logits of a batch and the taps named in `taps`, in one pass.
    ///
    /// # Errors
    /// Bad input when a tap is unknown, and a tensor error when `xs` has another shape than the
    /// network takes.
    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs>;

    /// What makes the logits: `weight · pooled + bias`, where the tap `pooled` is the mean over the
    /// pixels of the tap [`LAST`]. Methods that ask what a network says of parts of an image apply
    /// it to parts of that map. None where the logits come about in another way.
    fn classifier(&self) -> Option<Classifier> {
        None
    }

    /// The taps of [`Model::about`].
    fn taps(&self) -> &[Tap] {
        &self.about().taps
    }

    /// How many classes the network tells apart: [`About::classes`].
    fn classes(&self) -> usize {
        self.about().classes
    }

    /// Multiply-adds of one image's forward pass: [`About::multiply_adds`].
    fn multiply_adds(&self) -> u64 {
        self.about().multiply_adds
    }

    /// The taps of the stages, from the input to the output, without the stem and the pooled
    /// vector: what the literature calls the features of the network's layers. With
    /// [`Activated::Before`] each is taken before its activation where the network tells the two
    /// apart; where it does not (linear bottlenecks), and with [`Activated::After`], it is the
    /// stage's output.
    fn stages(&self, activated: Activated) -> Vec<&Tap> {
        let outputs = self
            .taps()
            .iter()
            .filter(|t| t.name.strip_prefix("stage").is_some_and(|n| n.parse::<u8>().is_ok()));
        let before = |tap| {
            self.taps()
                .iter()
                .find(|t: &&Tap| t.name.strip_suffix(".pre") == Some(&*(tap as &Tap).name))
        };
        outputs
            .map(
                |tap| if activated == Activated::Before { before(tap).unwrap_or(tap) } else { tap },
            )
            .collect()
    }

    /// The tap called `name`.
    ///
    /// # Errors
    /// Bad input that lists the taps there are.
    fn tap(&self, name: &str) -> Result<&Tap> {
        Ok(&self.taps()[self.tap_index(name)?])
    }

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

impl Model for Box<dyn Model> {
    fn about(&self) -> &About {
        (**self).about()
    }

    fn forward(&self, xs: &Tensor, taps: &[&str], mode: Mode) -> Result<Outputs> {
        (**self).forward(xs, taps, mode)
    }

    fn classifier(&self) -> Option<Classifier> {
        (**self).classifier()
    }
}
