//! The embedding from stock Candle ops: the oracle of the kernel, and what runs on other devices
//! and types.

use candle_core::{Result, Tensor};

/// The same function as [`super::embedding`], which checks the arguments first.
pub fn embedding(
    ids: &Tensor,
    table: &Tensor,
    scale: f64,
    positions: Option<&Tensor>,
    padding: Option<u32>,
) -> Result<Tensor> {
    let d = table.dim(1)?;
    let flat = ids.flatten_all()?;
    let mut rows = table.index_select(&flat, 0)?;
    if let Some(padding) = padding {
        // Rows of the padding come from a table without a graph.
        let padded = flat.eq(padding)?.unsqueeze(1)?.broadcast_as(rows.shape())?;
        rows = padded.where_cond(&rows.detach(), &rows)?;
    }
    let mut dims = ids.dims().to_vec();
    let t = dims.last().copied().unwrap_or(1);
    dims.push(d);
    let ys = (rows * scale)?.reshape(dims)?;
    match positions {
        Some(positions) => ys.broadcast_add(&positions.narrow(0, 0, t)?),
        None => Ok(ys),
    }
}
