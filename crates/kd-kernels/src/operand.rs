//! What a kernel asks of its operands: f32 values on the CPU that lie one after another.

use candle_core::{CpuStorage, DType, Layout, Result, Tensor, bail};

/// The number of elements that one task works on. Work of at most this size stays on the calling
/// thread, since waking another costs more than it saves. Task borders never depend on the number
/// of threads.
pub(crate) const TASK: usize = 16 * 1024;

/// The values of a contiguous operand, whatever its offset. `op` names the caller in the error for
/// any other layout.
pub(crate) fn contiguous<'a, T>(values: &'a [T], layout: &Layout, op: &str) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!(
            "{op}: expected a contiguous operand, got shape {:?} with strides {:?}",
            layout.shape(),
            layout.stride()
        ),
    }
}

/// [`contiguous`] for f32 storage.
pub(crate) fn contiguous_f32<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
    op: &str,
) -> Result<&'a [f32]> {
    contiguous(storage.as_slice::<f32>()?, layout, op)
}

/// The mutable values of a contiguous f32 operand.
pub(crate) fn contiguous_f32_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
    op: &str,
) -> Result<&'a mut [f32]> {
    let CpuStorage::F32(values) = storage else {
        bail!("{op}: expected f32, got {:?}", storage_dtype(storage));
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&mut values[start..end]),
        None => bail!(
            "{op}: expected a contiguous variable, got shape {:?} with strides {:?}",
            layout.shape(),
            layout.stride()
        ),
    }
}

fn storage_dtype(storage: &CpuStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

/// The number of rows and classes of `[b, c]` logits; both must be at least 1.
pub(crate) fn logits_dims(logits: &Tensor, op: &str, which: &str) -> Result<(usize, usize)> {
    match logits.dims() {
        &[b, c] if b > 0 && c > 0 => Ok((b, c)),
        dims => bail!("{op}: expected {which} [b, c] with b, c >= 1, got {dims:?}"),
    }
}

/// Size below which what an optimiser keeps is taken as 0.
///
/// A weight without gradients (a pixel that is always 0) halves its averages until they are
/// subnormal, where they stay; arithmetic on subnormal numbers is microcode on many processors.
/// While the small net of MNIST trained, 73 % of the samples of a profile were in Adam's kernel for
/// this reason. A value of this size is far below what changes a weight.
pub(crate) const NEGLIGIBLE: f32 = 1e-30;

/// `x`, or 0 where its size is below `floor`.
#[inline(always)]
pub(crate) fn flushed(x: f32, floor: f32) -> f32 {
    if x.abs() < floor { 0.0 } else { x }
}
