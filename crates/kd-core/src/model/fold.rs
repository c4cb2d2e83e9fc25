//! Linear branches folded into the dense layer behind them.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::layers::EPS;
use super::{HeadSpec, NetworkSpec};
use crate::{Error, Result};

impl NetworkSpec {
    /// The network that is deployed of this one with these tensors: what can be folded is.
    ///
    /// Of [`HeadSpec::Expanded`] the branch is linear where its batch-norms have their running
    /// statistics, and so are the mean and the dense layer behind it. With y = s ⊙ (W x) + o for
    /// each convolution W and its norm, the dense layer's weight D becomes D (1 + s₂ ⊙ W₂ (s₁ ⊙
    /// W₁)), and its bias grows by D (s₂ ⊙ W₂ o₁ + o₂): a plain network, with a
    /// [`HeadSpec::Standardised`] head where logits are standardised. In float64, rounded once. All
    /// other networks stay as they are.
    ///
    /// # Errors
    /// Bad input that names a tensor that is missing or of another shape.
    pub fn folded(
        &self,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<(Self, BTreeMap<String, Tensor>)> {
        let Self::Headed { network, head: HeadSpec::Expanded { logit_scale, .. } } = self else {
            return Ok((self.clone(), tensors));
        };
        let name = network.dense_name().unwrap_or_default();
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let mut parts = Parts(&mut tensors);
        let (expand, reduce) = (parts.affine("expand")?, parts.affine("reduce")?);
        let (dense, own) = (parts.take(&weight)?, parts.take(&bias)?);
        let branch = reduce.matrix.matmul(&expand.matrix)?;
        let whole = (&branch + Tensor::eye(branch.dim(0)?, DType::F64, &Device::Cpu)?)?;
        let column = |x: &Tensor| x.unsqueeze(1);
        let offset = (reduce.matrix.matmul(&column(&expand.offset)?)? + column(&reduce.offset)?)?;
        let more = dense.matmul(&offset)?.squeeze(1)?;
        tensors.insert(weight, dense.matmul(&whole)?.to_dtype(DType::F32)?);
        tensors.insert(bias, (own + more)?.to_dtype(DType::F32)?);
        let head = match *logit_scale {
            Some(logit_scale) => HeadSpec::Standardised { logit_scale },
            None => HeadSpec::Linear,
        };
        Ok(((**network).clone().with_head(head)?, tensors))
    }
}

/// Tensors that are taken out as they are folded.
struct Parts<'a>(&'a mut BTreeMap<String, Tensor>);

/// y = matrix · x + offset, in float64.
struct Affine {
    matrix: Tensor,
    offset: Tensor,
}

impl Parts<'_> {
    fn take(&mut self, name: &str) -> Result<Tensor> {
        let found = self.0.remove(name).ok_or_else(|| {
            Error::bad_input(format!("the network has no tensor '{name}' to fold"))
        })?;
        Ok(found.to_device(&Device::Cpu)?.to_dtype(DType::F64)?)
    }

    /// The convolution of 1×1 called `{name}.0` and its norm `{name}.1`, which has its running
    /// statistics.
    fn affine(&mut self, name: &str) -> Result<Affine> {
        let kernel = self.take(&format!("{name}.0.weight"))?;
        let matrix = kernel.flatten_from(1)?;
        let mut part = |part: &str| self.take(&format!("{name}.1.{part}"));
        let (gain, shift) = (part("weight")?, part("bias")?);
        let (mean, variance) = (part("running_mean")?, part("running_var")?);
        let scale = gain.div(&(variance + EPS)?.sqrt()?)?;
        let offset = (shift - mean.mul(&scale)?)?;
        Ok(Affine { matrix: matrix.broadcast_mul(&scale.unsqueeze(1)?)?, offset })
    }
}
