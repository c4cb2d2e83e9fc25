//! The shuffle of channels between grouped convolutions.

mod cpu;
pub mod reference;

use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// The channels of `x`, taken one of each group by turns: out\[:, j·groups + g\] = x\[:, g·(c /
/// groups) + j\] ("ShuffleNet", Zhang et al. 2018).
///
/// * `x`: `[n, c, h, w]` with c a multiple of `groups`.
/// * result: `[n, c, h, w]`, contiguous.
///
/// `f32` tensors on the CPU run the kernel while [`crate::kernels_enabled`]; all others
/// run [`reference::channel_shuffle`]. Fails on other shapes, and on 0 groups.
pub fn channel_shuffle(x: &Tensor, groups: usize) -> Result<Tensor> {
    check(x, groups)?;
    if takes_kernel(&[x])? {
        cpu::channel_shuffle(x, groups)
    } else {
        reference::channel_shuffle(x, groups)
    }
}

fn check(x: &Tensor, groups: usize) -> Result<()> {
    match x.dims() {
        &[_, c, _, _] if groups > 0 && c % groups == 0 => Ok(()),
        dims => bail!(
            "channel_shuffle: x has shape {dims:?}, expected [n, c, h, w] with c a multiple of {groups} groups, at least 1"
        ),
    }
}
