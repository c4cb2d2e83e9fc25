//! Dense layer (stand-in).
use candle_core::{Result, Tensor};
/// What follows the affine map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// ReLU.
    Relu,
}
/// act(x wᵀ + b)
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    let y = x.matmul(&w.t()?)?;
    let y = match b {
        Some(b) => y.broadcast_add(b)?,
        None => y,
    };
    if act == Activation::Relu { y.relu() } else { Ok(y) }
}
