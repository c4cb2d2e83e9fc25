//! A dense layer: product, bias and activation in one pass.

mod cpu;
pub mod reference;

use crate::Activation;
use crate::dropout::cpu::DropoutMask;
use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// y = act(x · wᵀ + b).
///
/// * `x`: `[.., in]`, of any strides; leading dimensions are batch.
/// * `w`: `[out, in]`, the layout of PyTorch's `nn.Linear`.
/// * `b`: `[out]`.
/// * result: `[.., out]`, contiguous.
///
/// Gradients flow to `x`, `w` and `b`, as far as each of them tracks one. A batch of 0 gives an
/// empty result, and gradients of 0 from the kernel, none from the twin (Candle's product of an
/// empty matrix records no graph). `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::linear`]. Products follow
/// [`crate::Precision`]. Fails on shapes that do not fit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::{Activation, linear::linear};
///
/// let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let w = Tensor::new(&[[1f32, 1.0], [0.0, -1.0]], &Device::Cpu)?;
/// let b = Tensor::new(&[0.5f32, 1.0], &Device::Cpu)?;
/// let y = linear(&x, &w, Some(&b), Activation::Relu)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[3.5, 0.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    check(x, w, b)?;
    let mut all = vec![x, w];
    all.extend(b);
    if takes_kernel(&all)? {
        cpu::linear(x, w, b, act, None)
    } else {
        reference::linear(x, w, b, act)
    }
}

/// [`linear`] with ReLU, followed by dropout, in one op: what is dropped is 0 like what the
/// rectifier stopped, so the backward pass needs no mask. All tensors are `f32` on the CPU.
pub(crate) fn relu_dropout(
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    dropout: Option<DropoutMask>,
) -> Result<Tensor> {
    check(x, w, Some(b))?;
    cpu::linear(x, w, Some(b), Activation::Relu, dropout)
}

fn check(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<()> {
    let (out, inner) = match w.dims() {
        &[out, inner] => (out, inner),
        dims => bail!("linear: w has shape {dims:?}, expected [out, in]"),
    };
    match x.dims().last() {
        Some(&last) if last == inner => {}
        _ => bail!(
            "linear: x has shape {:?}, expected [.., {inner}] for w of shape {:?}",
            x.dims(),
            w.dims()
        ),
    }
    match b {
        Some(b) if b.dims() != [out] => {
            bail!("linear: b has shape {:?}, expected [{out}]", b.dims())
        }
        _ => Ok(()),
    }
}
