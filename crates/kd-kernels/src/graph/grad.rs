//! Gradients on their way from node to node.

use std::ops::Deref;

use candle_core::{CpuStorage, Device, Result, Shape, Storage, Tensor, bail};

/// A gradient, or a part of one: f32 values in row-major order.
#[derive(Debug)]
pub(crate) enum Grad {
    /// Of the receiver alone, who may write over it.
    Owned(Vec<f32>),
    /// Perhaps of others as well. Contiguous.
    Shared(Tensor),
}

impl Grad {
    /// The values.
    pub(crate) fn values(&self) -> Result<Values<'_>> {
        match self {
            Grad::Owned(values) => Ok(Values::Slice(values)),
            Grad::Shared(tensor) => values(tensor),
        }
    }

    /// The values for writing, copied where they are shared.
    pub(crate) fn into_vec(self) -> Result<Vec<f32>> {
        match self {
            Grad::Owned(values) => Ok(values),
            Grad::Shared(tensor) => Ok(values(&tensor)?.to_vec()),
        }
    }

    /// The same values twice.
    pub(crate) fn twice(self) -> Result<[Grad; 2]> {
        let tensor = match self {
            Grad::Owned(values) => {
                let len = values.len();
                Tensor::from_vec(values, len, &Device::Cpu)?
            }
            Grad::Shared(tensor) => tensor,
        };
        Ok([Grad::Shared(tensor.clone()), Grad::Shared(tensor)])
    }

    /// The values as a tensor of this shape, which has as many.
    pub(crate) fn into_tensor(self, shape: &Shape) -> Result<Tensor> {
        match self {
            Grad::Owned(values) => Tensor::from_vec(values, shape, &Device::Cpu),
            Grad::Shared(tensor) => tensor.reshape(shape),
        }
    }
}

/// The sum of the parts, in their order, over the first that is owned.
pub(crate) fn sum(parts: Vec<Grad>) -> Result<Grad> {
    let mut parts = parts.into_iter();
    let Some(mut total) = parts.next() else {
        bail!("backward: a node was reached without a gradient")
    };
    for part in parts {
        // The sum of two does not depend on which is first.
        let (mut over, other) = match (total, part) {
            (total @ Grad::Shared(_), part @ Grad::Owned(_)) => (part.into_vec()?, total),
            (total, part) => (total.into_vec()?, part),
        };
        crate::elementwise::add_assign(&mut over, &other.values()?);
        total = Grad::Owned(over);
    }
    Ok(total)
}

/// Values that are borrowed from a slice or from a tensor.
pub(crate) enum Values<'a> {
    Slice(&'a [f32]),
    Tensor(Box<dyn Deref<Target = Storage> + 'a>, usize, usize),
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Values::Slice(values) => values,
            Values::Tensor(storage, start, end) => match &***storage {
                Storage::Cpu(CpuStorage::F32(values)) => &values[*start..*end],
                _ => unreachable!("`values` lets no other storage in"),
            },
        }
    }
}

/// The values of a contiguous f32 tensor on the CPU.
pub(crate) fn values(tensor: &Tensor) -> Result<Values<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => {
            Ok(Values::Tensor(Box::new(storage), start, end))
        }
        _ => bail!(
            "expected a contiguous f32 tensor on the CPU, got {:?} of strides {:?}",
            tensor.dtype(),
            layout.stride()
        ),
    }
}
