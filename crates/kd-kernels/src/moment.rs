//! A running average that an optimiser keeps beside one variable.

use candle_core::{DType, Device, Result, Shape, Tensor, bail};

/// Zero until it is first used; then of the variable's shape.
///
/// The kernels hold it as plain memory, because a Candle in-place op may write to one tensor only
/// and the weight is that one; the twins hold it as a tensor on the variable's device. Either takes
/// over from the other.
#[derive(Clone, Debug, Default)]
pub(crate) enum Moment {
    #[default]
    Zero,
    Host {
        values: Vec<f32>,
        shape: Shape,
    },
    Tensor(Tensor),
}

impl Moment {
    pub(crate) fn new(tensor: Tensor) -> Self {
        Self::Tensor(tensor.detach())
    }

    fn shape(&self) -> Option<&Shape> {
        match self {
            Self::Zero => None,
            Self::Host { shape, .. } => Some(shape),
            Self::Tensor(tensor) => Some(tensor.shape()),
        }
    }

    fn check(&self, var: &Tensor, op: &str) -> Result<()> {
        match self.shape() {
            Some(shape) if shape != var.shape() => {
                bail!(
                    "{op}: expected optimiser state of the variable's shape {:?}, got {:?}",
                    var.dims(),
                    shape.dims()
                )
            }
            _ => Ok(()),
        }
    }

    /// The values as memory to update in place, for an f32 variable on the CPU.
    pub(crate) fn host(&mut self, var: &Tensor, op: &str) -> Result<&mut [f32]> {
        self.check(var, op)?;
        let values = match self {
            Self::Host { values, .. } => return Ok(values),
            Self::Zero => vec![0f32; var.elem_count()],
            Self::Tensor(tensor) => {
                tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?
            }
        };
        *self = Self::Host { values, shape: var.shape().clone() };
        match self {
            Self::Host { values, .. } => Ok(values),
            Self::Zero | Self::Tensor(_) => bail!("{op}: optimiser state was not set"),
        }
    }

    /// The values as a tensor of the variable's device and dtype. To change them, assign
    /// [`Moment::new`].
    pub(crate) fn tensor(&self, var: &Tensor, op: &str) -> Result<Tensor> {
        self.check(var, op)?;
        match self.snapshot()? {
            None => var.zeros_like(),
            Some(tensor) => tensor.to_device(var.device())?.to_dtype(var.dtype()),
        }
    }

    /// The values as a tensor of their own, or nothing before the first use.
    pub(crate) fn snapshot(&self) -> Result<Option<Tensor>> {
        match self {
            Self::Zero => Ok(None),
            Self::Host { values, shape } => {
                Tensor::from_slice(values, shape, &Device::Cpu).map(Some)
            }
            Self::Tensor(tensor) => Ok(Some(tensor.clone())),
        }
    }
}

/// Errors unless `grad` has the variable's shape.
pub(crate) fn check_grad(var: &Tensor, grad: &Tensor, op: &str) -> Result<()> {
    if var.shape() != grad.shape() {
        bail!(
            "{op}: expected a gradient of the variable's shape {:?}, got {:?}",
            var.dims(),
            grad.dims()
        );
    }
    Ok(())
}
