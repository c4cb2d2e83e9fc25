//! What a teacher predicts for the images of each class, on average over an epoch.

use candle_core::{DType, Tensor, Var};
use candle_nn::Init;
use kd_kernels::softmax::softmax;

use super::{Context, Step};
use crate::Result;
use crate::params::buffer;

/// Means by class of the teacher's predictions at this temperature, over the epoch before; in the
/// first they are 1/c. A class without an image in an epoch keeps the mean that it had.
///
/// Buffers: `means.now` and `means.sums` `[c, c]`, a row for each class, and `means.epoch`, the
/// epoch that the sums are of. They are saved with the run, so that one that is resumed goes on
/// with the same means.
pub(super) struct ClassMeans {
    now: Var,
    sums: Var,
    epoch: Var,
    temperature: f64,
}

impl ClassMeans {
    /// The means of a run that begins, or of one that goes on.
    ///
    /// # Errors
    /// When a buffer cannot be made.
    pub fn new(context: &Context, temperature: f64) -> Result<Self> {
        let classes = context.student().classes();
        let vb = context.vb().pp("means");
        buffer(&vb, (classes, classes), "now", Init::Const(1. / classes as f64))?;
        buffer(&vb, (classes, classes), "sums", Init::Const(0.))?;
        buffer(&vb, 1, "epoch", Init::Const(0.))?;
        let var = |name: &str| context.var(&format!("means.{name}"));
        Ok(Self { now: var("now")?, sums: var("sums")?, epoch: var("epoch")?, temperature })
    }

    /// The mean of the class of each case of this step, `[b, c]`.
    ///
    /// # Errors
    /// When a label is no class.
    pub fn of_cases(&self, step: &Step) -> Result<Tensor> {
        let means =
            if self.is_of(step.epoch)? { self.now.as_detached_tensor() } else { self.next()? };
        Ok(means.index_select(step.labels, 0)?)
    }

    /// Counts the predictions of this step.
    ///
    /// # Errors
    /// When the step has no teacher's logits, or a label is no class.
    pub fn remember(&self, step: &Step) -> Result<()> {
        if !self.is_of(step.epoch)? {
            self.now.set(&self.next()?)?;
            self.sums.set(&self.sums.zeros_like()?)?;
            self.epoch.set(&Tensor::new(&[step.epoch as f32], self.epoch.device())?)?;
        }
        let predictions = softmax(&(step.teacher()?.logits.detach() / self.temperature)?)?;
        let sums = self.sums.as_detached_tensor();
        Ok(self.sums.set(&sums.index_add(step.labels, &predictions.to_dtype(DType::F32)?, 0)?)?)
    }

    /// Whether the sums are of this epoch.
    fn is_of(&self, epoch: usize) -> Result<bool> {
        Ok(self.epoch.get(0)?.to_scalar::<f32>()? == epoch as f32)
    }

    /// What the means are once the epoch of the sums is over.
    fn next(&self) -> Result<Tensor> {
        let (now, sums) = (self.now.as_detached_tensor(), self.sums.as_detached_tensor());
        let images = sums.sum_keepdim(1)?;
        let seen = images.gt(0f32)?.broadcast_as(sums.shape())?;
        Ok(seen.where_cond(&sums.broadcast_div(&images.maximum(1e-30)?)?, &now)?)
    }
}
