//! What the training loop needs of a data set.

use candle_core::{Device, Tensor};

use crate::data::StrongView;
use crate::seed::StepSeed;
use crate::{Error, Result};

/// One step's worth of examples.
pub struct Batch {
    /// Inputs, `[batch, …]`.
    pub inputs: Tensor,
    /// True classes, `u32 [batch]`.
    pub labels: Tensor,
    /// Which examples of the data set they are, `[batch]`: the numbers by which a method that
    /// remembers examples knows them.
    pub numbers: Vec<u32>,
    /// The teacher's logits on these examples, where they were computed beforehand: `[batch,
    /// classes]`.
    pub teacher_logits: Option<Tensor>,
}

/// A training set: it makes the batch of any list of rows.
pub trait Examples: Sync {
    /// How many examples there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The examples at `rows`, augmented, if they are, by draws from `step` alone.
    ///
    /// # Errors
    /// When the tensors cannot be made.
    fn batch(&self, rows: &[u32], step: StepSeed, device: &Device) -> Result<Batch>;

    /// A second view of the images that [`Examples::batch`] gives for the same `rows` and `step`,
    /// in the same order, made by draws from `step` alone, for methods that ask for it
    /// ([`crate::method::Wants::second_view`]).
    ///
    /// # Errors
    /// As [`Examples::batch`]. Bad input, by default: there is none of these examples.
    fn second_view(
        &self,
        _rows: &[u32],
        _view: &StrongView,
        _step: StepSeed,
        _device: &Device,
    ) -> Result<Tensor> {
        Err(Error::bad_input(
            "examples: expected some with a second view, which the method asks for, got others",
        ))
    }

    /// The examples at `rows` as they are, without augmentation, for methods that look at the
    /// training set before the first step ([`crate::method::Wants::survey`]).
    ///
    /// # Errors
    /// As [`Examples::batch`]. Bad input, by default: these examples are not to be had so.
    fn plain(&self, _rows: &[u32], _device: &Device) -> Result<Batch> {
        Err(Error::bad_input(
            "examples: expected some that can be had without augmentation, which the method asks for, got others",
        ))
    }
}
