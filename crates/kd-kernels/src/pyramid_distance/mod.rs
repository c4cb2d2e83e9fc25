//! The squared distance of two maps over a pyramid of averages.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::switch::takes_kernel;

/// A level of the pyramid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Maps are averaged to side × side pixels.
    pub side: usize,
    /// Of its mean squared distance in the sum.
    pub weight: f64,
}

/// d = Σ over levels l of weight\_l · mean((avg\_l(x) − avg\_l(y))²), where avg\_l averages a map
/// to side\_l × side\_l pixels and the mean is over batch, channels and those: the hierarchical
/// context loss of "Distilling Knowledge via Knowledge Review" (Chen et al. 2021), section 3.4, for
/// its levels and weights.
///
/// * `x`, `y`: `[n, c, side, side]`, of one shape, not empty.
/// * `levels`: at least one, from fine to coarse. The first level's side divides that of the maps, every other
///   the one before it; a side that is that of the maps averages nothing.
/// * result: a scalar.
///
/// Gradients flow to x and y; neither differences nor their averages are ever in memory. `f32`
/// tensors on the CPU run the kernel while [`crate::kernels_enabled`]; all others run
/// [`reference::pyramid_distance`]. Results do not depend on the number of threads. Fails on other
/// shapes and levels.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::pyramid_distance::{Level, pyramid_distance};
///
/// let x = Tensor::new(&[[[[1f32, 2.], [3., 4.]]]], &Device::Cpu)?;
/// let y = Tensor::new(&[[[[0f32, 0.], [0., 2.]]]], &Device::Cpu)?;
/// // (1 + 4 + 9 + 4) / 4 of the pixels, and (10/4 − 2/4)² of the averages.
/// let levels = [Level { side: 2, weight: 1.0 }, Level { side: 1, weight: 0.5 }];
/// assert_eq!(pyramid_distance(&x, &y, &levels)?.to_scalar::<f32>()?, 4.5 + 0.5 * 4.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn pyramid_distance(x: &Tensor, y: &Tensor, levels: &[Level]) -> Result<Tensor> {
    check(x, y, levels)?;
    if takes_kernel(&[x, y])? {
        cpu::pyramid_distance(x, y, levels)
    } else {
        reference::pyramid_distance(x, y, levels)
    }
}

fn check(x: &Tensor, y: &Tensor, levels: &[Level]) -> Result<()> {
    let side = match x.dims() {
        &[_, _, height, width] if height == width && x.elem_count() > 0 => height,
        dims => {
            bail!("pyramid_distance: expected maps [n, c, side, side], not empty, got {dims:?}")
        }
    };
    if y.dims() != x.dims() {
        bail!("pyramid_distance: y has shape {:?}, expected that of x, {:?}", y.dims(), x.dims())
    }
    if levels.is_empty() {
        bail!("pyramid_distance: expected at least one level, got none")
    }
    let mut above = side;
    for level in levels {
        if level.side == 0 || above % level.side != 0 {
            bail!(
                "pyramid_distance: expected a side that is a multiple of {}, got {above}",
                level.side
            )
        }
        above = level.side;
    }
    Ok(())
}
