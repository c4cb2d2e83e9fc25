//! Backward (stand-in).
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
/// Gradients.
pub struct Gradients(GradStore);
impl Gradients {
    /// Of a variable.
    pub fn get(&self, var: &Tensor) -> Option<&Tensor> {
        self.0.get(var)
    }
}
/// Candle's.
pub fn backward(loss: &Tensor) -> Result<Gradients> {
    loss.backward().map(Gradients)
}
