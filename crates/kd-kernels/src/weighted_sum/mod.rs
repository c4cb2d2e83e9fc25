//! Several tensors mixed by a weight each.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::switch::takes_kernel;

/// y = Σ_k weights_k · xs_k: how "Weight Distillation" (Lin et al. 2021) mixes the layers of a
/// teacher.
///
/// * `xs`: `[k, ..]` with k ≥ 1.
/// * `weights`: `[k]`.
/// * result: the shape of one of `xs`, contiguous.
///
/// Gradients flow to those of both that track them. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::weighted_sum`]. Fails on shapes that do
/// not fit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let xs = Tensor::new(&[[1f32, 2.], [10., 20.]], &Device::Cpu)?;
/// let weights = Tensor::new(&[0.5f32, 2.], &Device::Cpu)?;
/// assert_eq!(kd_kernels::weighted_sum::weighted_sum(&xs, &weights)?.to_vec1::<f32>()?, [20.5, 41.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn weighted_sum(xs: &Tensor, weights: &Tensor) -> Result<Tensor> {
    check(xs, weights)?;
    if takes_kernel(&[xs, weights])? {
        cpu::weighted_sum(xs, weights)
    } else {
        reference::weighted_sum(xs, weights)
    }
}

fn check(xs: &Tensor, weights: &Tensor) -> Result<()> {
    match (xs.dims(), weights.dims()) {
        ([k, ..], [n]) if k == n && *k > 0 => Ok(()),
        (xs, weights) => bail!(
            "weighted_sum: expected xs [k, ..] and weights [k] with k >= 1, got {xs:?} and {weights:?}"
        ),
    }
}
