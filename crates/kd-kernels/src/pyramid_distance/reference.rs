//! The pyramid from other twins and stock Candle ops: the oracle of the kernel, and what runs on
//! other devices and types.

use candle_core::{Result, Tensor};

use super::Level;
use crate::pool::reference::avg_pool2d;

/// The same function as [`super::pyramid_distance`].
///
/// Averaging is linear, so that the difference is averaged in place of both maps, and each level
/// from the one before.
pub fn pyramid_distance(x: &Tensor, y: &Tensor, levels: &[Level]) -> Result<Tensor> {
    super::check(x, y, levels)?;
    let mut difference = (x - y)?;
    let mut sum = Tensor::zeros((), x.dtype(), x.device())?;
    for level in levels {
        let window = difference.dim(3)? / level.side;
        if window > 1 {
            difference = avg_pool2d(&difference, window, window, 0, true)?;
        }
        sum = (sum + (difference.sqr()?.mean_all()? * level.weight)?)?;
    }
    Ok(sum)
}
