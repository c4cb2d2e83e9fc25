//! Rows of a table by their ids, with a scale and positions.

mod cpu;
pub mod reference;

use crate::switch::takes_kernel;
use candle_core::{DType, Result, Tensor, bail};

/// y\[.., i, :\] = scale · table\[ids\[.., i\], :\] + positions\[i, :\].
///
/// * `ids`: u32 `[.., t]`, of any strides, each below V.
/// * `table`: `[V, d]`.
/// * `positions`: `[p, d]` with p ≥ t, of which the first t rows are added; for a later part of a
///   sequence, give a narrowed view. `None` adds nothing.
/// * `padding`: an id whose row of the table gets no gradient. Its value is used like any other.
/// * result: `[.., t, d]`, contiguous.
///
/// Gradients flow to `table` (rows of the same id are added up in the order of their places) and to
/// `positions` (added up over the batch), as far as each tracks one. `f32` tensors on the CPU run
/// the kernel while [`crate::kernels_enabled`]; all others run [`reference::embedding`].
///
/// Errors: ids that are not u32, shapes that do not fit, and an id of V or more, naming its index.
/// Ids on an accelerator are not looked at, since a read would wait for all that the device has to
/// do: what stands in the rows of ids out of range is not defined there.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::embedding::embedding;
///
/// let table = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let positions = Tensor::new(&[[0.5f32, 0.0], [0.0, 0.5]], &Device::Cpu)?;
/// let ids = Tensor::new(&[[1u32, 0]], &Device::Cpu)?;
/// assert_eq!(embedding(&ids, &table, 2.0, Some(&positions), None)?.to_vec3::<f32>()?, [[[6.5, 8.0], [2.0, 4.5]]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn embedding(
    ids: &Tensor,
    table: &Tensor,
    scale: f64,
    positions: Option<&Tensor>,
    padding: Option<u32>,
) -> Result<Tensor> {
    let host = check(ids, table, positions)?;
    let mut all = vec![table];
    all.extend(positions);
    if takes_kernel(&all)? {
        cpu::embedding(host, ids.dims(), table, scale, positions, padding)
    } else {
        reference::embedding(ids, table, scale, positions, padding)
    }
}

/// The ids on the host, all within the table; none where they are on an accelerator.
fn check(ids: &Tensor, table: &Tensor, positions: Option<&Tensor>) -> Result<Vec<u32>> {
    let &[v, d] = table.dims() else {
        bail!("embedding: table has shape {:?}, expected [V, d]", table.dims())
    };
    let Some(&t) = ids.dims().last() else {
        bail!("embedding: expected ids [.., t], got a scalar")
    };
    if ids.dtype() != DType::U32 {
        bail!("embedding: expected ids of u32, got {:?}", ids.dtype())
    }
    if let Some(positions) = positions {
        match positions.dims() {
            &[p, width] if p >= t && width == d => {}
            dims => bail!("embedding: positions have shape {dims:?}, expected at least [{t}, {d}]"),
        }
    }
    if !ids.device().same_device(table.device()) {
        bail!("embedding: expected ids and table on one device")
    }
    if !ids.device().is_cpu() {
        return Ok(Vec::new());
    }
    let host = ids.flatten_all()?.to_vec1::<u32>()?;
    match host.iter().enumerate().find(|&(_, &id)| id as usize >= v) {
        Some((i, id)) => {
            bail!("embedding: id {id} at index {i} is out of range for a table of {v} rows")
        }
        None => Ok(host),
    }
}
