//! Distances of pairs and angles of triples of the vectors of a batch.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::switch::takes_kernel;

/// The squared distance at and below which two vectors count as one: the square of `F.normalize`'s
/// 1e-12.
const NEAREST_SQUARED: f64 = 1e-24;

/// out\[i, j\] = ‖x_i − x_j‖², from differences, so that near vectors keep their digits and equal
/// ones are exactly 0 apart.
///
/// * `x`: `[b, d]`, not empty.
/// * result: `[b, b]`, symmetric.
///
/// Backward: ∂x_i = 2 · Σ_j (∂out_ij + ∂out_ji) · (x_i − x_j). `f32` tensors on the CPU run the
/// kernel while [`crate::kernels_enabled`], in memory of b²; all others run
/// [`reference::squared_distances`], in memory of b²·d. Fails on other shapes.
pub fn squared_distances(x: &Tensor) -> Result<Tensor> {
    check_vectors(x)?;
    if takes_kernel(&[x])? { cpu::squared_distances(x) } else { reference::squared_distances(x) }
}

/// Mean over all b³ triples of h(cos(i, j, k) − cos'(i, j, k)), where cos(i, j, k) is the cosine at
/// i of the triangle of i, j and k, cos' the same of the target, and h(z) = ½z² for |z| < 1 and |z|
/// − ½ elsewhere (PyTorch's smooth L1): the angle-wise loss of "Relational knowledge distillation"
/// (Park et al. 2019).
///
/// * `squares`, `target`: squared distances `[b, b]`, symmetric, as [`squared_distances`] gives
///   them.
/// * result: a scalar.
///
/// Cosines are (s_ij + s_ik − s_jk) / (2·√(s_ij·s_ik)), and 0 where i is 1e-12 or less from j or k,
/// with gradient 0. Only `squares` has a gradient, computed in the forward pass where it can be
/// asked for. `f32` tensors on the CPU run the kernel while [`crate::kernels_enabled`], in memory
/// of b²; all others run [`reference::angle_distance`], in memory of b³. Fails on other shapes.
pub fn angle_distance(squares: &Tensor, target: &Tensor) -> Result<Tensor> {
    check_squares(squares, target)?;
    let target = target.detach();
    if takes_kernel(&[squares, &target])? {
        cpu::angle_distance(squares, &target)
    } else {
        reference::angle_distance(squares, &target)
    }
}

fn check_vectors(x: &Tensor) -> Result<()> {
    match x.dims() {
        [b, d] if b * d > 0 => Ok(()),
        dims => bail!("squared_distances: x has shape {dims:?}, expected [b, d], not empty"),
    }
}

fn check_squares(squares: &Tensor, target: &Tensor) -> Result<()> {
    match (squares.dims(), target.dims()) {
        ([b, c], dims) if b == c && *b > 0 && dims == [*b, *b] => Ok(()),
        (s, t) => bail!(
            "angle_distance: expected squared distances [b, b] of one size, not empty, got {s:?} and {t:?}"
        ),
    }
}
