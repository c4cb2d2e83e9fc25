//! How far apart two sets of directions are, under a polynomial kernel.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::switch::takes_kernel;

/// The square of the length at and below which a channel counts as 0, that of PyTorch's
/// `F.normalize`.
const SHORTEST_SQUARED: f64 = 1e-24;

/// Squared maximum mean discrepancy of the channels of x and y as directions, under k(a, b) =
/// (aᵀb)², mean over the batch:
///
/// 1/n · Σ_n \[ 1/c² · Σ_ij k(x_i, x_j) + 1/d² · Σ_ij k(y_i, y_j) − 2/(c·d) · Σ_ij k(x_i, y_j) \],
/// where x_i is channel i over its length.
///
/// * `x`: `[n, c, ..]`, `y`: `[n, d, ..]`, not empty, with the same places.
/// * result: a scalar, below 0 only by rounding, and 0 where y is x.
///
/// Only x has a gradient. A channel of length 1e-12 or less counts as 0, with gradient 0. Products
/// are of channels (c × c, c × d), not of places, and lengths are their diagonals, so that a map is
/// read once for each product and never copied. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::polynomial_mmd`]. Fails on other shapes.
///
/// Source: Huang and Wang, "Like what you like: knowledge distill via neuron selectivity transfer",
/// 2017.
pub fn polynomial_mmd(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    check(x, y)?;
    let y = y.detach();
    if takes_kernel(&[x, &y])? {
        cpu::polynomial_mmd(x, &y)
    } else {
        reference::polynomial_mmd(x, &y)
    }
}

fn check(x: &Tensor, y: &Tensor) -> Result<()> {
    match (x.dims(), y.dims()) {
        ([n, c, places @ ..], [m, d, others @ ..])
            if n == m && places == others && c * d * x.elem_count() > 0 =>
        {
            Ok(())
        }
        (x, y) => bail!(
            "polynomial_mmd: expected x [n, c, ..] and y [n, d, ..] with the same places, not empty, got {x:?} and {y:?}"
        ),
    }
}
