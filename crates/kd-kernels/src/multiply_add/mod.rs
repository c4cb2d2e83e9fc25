//! Scale and shift of each element, or of its hyperbolic tangent.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::switch::takes_kernel;

/// y = scale ⊙ x + shift.
///
/// * `x`, `scale`, `shift`: of one shape, any.
/// * result: that shape, contiguous.
///
/// Gradients flow to those of the three that track them; a constant x costs nothing backward. `f32`
/// tensors on the CPU run the kernel while [`crate::kernels_enabled`]; all others run
/// [`reference::multiply_add`]. Fails on shapes that differ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::multiply_add::multiply_add;
/// let t = |values: &[f32]| Tensor::new(values, &Device::Cpu);
/// assert_eq!(multiply_add(&t(&[1., 2.])?, &t(&[3., 4.])?, &t(&[5., 6.])?)?.to_vec1::<f32>()?, [8., 14.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn multiply_add(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    check("multiply_add", x, scale, shift)?;
    if takes_kernel(&[x, scale, shift])? {
        cpu::multiply_add(x, scale, shift)
    } else {
        reference::multiply_add(x, scale, shift)
    }
}

/// y = scale ⊙ tanh x + shift: how "Weight Distillation" (Lin et al. 2021) ends the generation of a
/// weight.
///
/// As [`multiply_add`]. Backward: ∂x = ∂y ⊙ scale ⊙ (1 − tanh² x).
pub fn tanh_multiply_add(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    check("tanh_multiply_add", x, scale, shift)?;
    if takes_kernel(&[x, scale, shift])? {
        cpu::tanh_multiply_add(x, scale, shift)
    } else {
        reference::tanh_multiply_add(x, scale, shift)
    }
}

fn check(op: &str, x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<()> {
    for (name, other) in [("scale", scale), ("shift", shift)] {
        if other.dims() != x.dims() {
            bail!("{op}: {name} has shape {:?}, expected that of x, {:?}", other.dims(), x.dims())
        }
    }
    Ok(())
}
