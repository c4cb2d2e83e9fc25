//! The mean squared distance of two maps, channel by channel.

pub(crate) mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::switch::takes_kernel;

/// d\[c\] = mean of (x\[n, c, ..\] − y\[n, c, ..\])² over the batch and all places. The mean of d
/// is PyTorch's `F.mse_loss(x, y)`; weighted by channel it is a Gaussian log-likelihood.
///
/// * `x`, `y`: `[n, c, ..]`, of one shape, not empty.
/// * result: `[c]`.
///
/// Backward: ∂x = 2/m · (x − y) · ∂d with m values a channel, and ∂y = −∂x; neither difference nor
/// square is ever in memory. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::channel_distance`]. Fails on other
/// shapes.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let y = Tensor::new(&[[1f32, 0.], [1., 4.]], &Device::Cpu)?;
/// assert_eq!(kd_kernels::squared_distance::channel_distance(&x, &y)?.to_vec1::<f32>()?, [2., 2.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn channel_distance(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    check(x, y)?;
    if takes_kernel(&[x, y])? {
        cpu::channel_distance(x, y)
    } else {
        reference::channel_distance(x, y)
    }
}

fn check(x: &Tensor, y: &Tensor) -> Result<()> {
    if x.dims() == y.dims() && x.rank() >= 2 && x.elem_count() > 0 {
        return Ok(());
    }
    bail!(
        "channel_distance: expected x and y [n, c, ..] of one shape, not empty, got {:?} and {:?}",
        x.dims(),
        y.dims()
    )
}
