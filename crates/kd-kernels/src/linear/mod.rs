//! A dense layer: the affine map with its activation in one op.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::operand::on_kernel;

/// What follows the affine map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(·, 0).
    Relu,
}

/// y = act(x·wᵀ + b).
///
/// `x [.., in]`, of any strides; `w [out, in]`, as PyTorch keeps it; `b [out]` → `[.., out]`.
///
/// Backward, with g the incoming gradient, and 0 where ReLU gave 0: ∂w = gᵀ·x, ∂b = Σ g over all rows, ∂x = g·w. The last is
/// left out where `x` does not depend on a variable. At a pre-activation of exactly 0 ReLU's derivative is 0, as PyTorch's is.
///
/// # Errors
/// Shapes that do not fit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::linear::{Activation, linear};
/// let x = Tensor::new(&[[1f32, 2.]], &Device::Cpu)?;
/// let w = Tensor::new(&[[1f32, 1.], [-1., 0.]], &Device::Cpu)?;
/// let b = Tensor::new(&[0.5f32, 0.], &Device::Cpu)?;
/// assert_eq!(linear(&x, &w, Some(&b), Activation::Relu)?.to_vec2::<f32>()?, [[3.5, 0.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let (outputs, inputs) = w.dims2()?;
    let fits = x.dims().last() == Some(&inputs) && b.is_none_or(|b| b.dims() == [outputs]);
    if !fits {
        let bias = b.map(|b| format!(", b {:?}", b.dims())).unwrap_or_default();
        bail!("linear: expected x [.., in], w [out, in] and b [out], got x {:?}, w {:?}{bias}", x.dims(), w.dims());
    }
    let operands: Vec<&Tensor> = [Some(x), Some(w), b].into_iter().flatten().collect();
    if !on_kernel(&operands) || x.elem_count() == 0 {
        return reference::linear(x, w, b, activation);
    }
    let rows = if x.rank() == 2 { x.clone() } else { x.reshape(((), inputs))? };
    let y = match b {
        Some(b) => rows.apply_op3(w, b, cpu::Linear { activation })?,
        None => rows.apply_op2(w, cpu::Linear { activation })?,
    };
    if x.rank() == 2 {
        return Ok(y);
    }
    let mut dims = x.dims().to_vec();
    dims.pop();
    dims.push(outputs);
    y.reshape(dims)
}
