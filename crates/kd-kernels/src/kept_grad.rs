//! The gradient of a scalar loss, computed in its forward pass and kept for the backward pass.

use std::sync::OnceLock;

use candle_core::{Device, Result, Shape, Tensor, bail};

/// Holds the gradient of a loss whose own gradient is 1, contiguous, on the CPU.
#[derive(Default)]
pub(crate) struct KeptGrad(OnceLock<Vec<f32>>);

impl KeptGrad {
    /// Keeps `grad`. An op is applied to one input only, so that a second call would bring the same
    /// values: it is passed over.
    pub(crate) fn keep(&self, grad: Vec<f32>) {
        let _ = self.0.set(grad);
    }

    /// The kept gradient times `upstream`, the scalar gradient of the loss. It stays kept, since a
    /// graph may be walked again.
    pub(crate) fn scaled(&self, shape: &Shape, upstream: &Tensor, op: &str) -> Result<Tensor> {
        let Some(grad) = self.0.get() else {
            bail!("{op}: backward, but the forward pass saw no graph and kept no gradient");
        };
        let upstream = upstream.to_scalar::<f32>()?;
        Tensor::from_vec(grad.iter().map(|g| g * upstream).collect(), shape, &Device::Cpu)
    }
}
