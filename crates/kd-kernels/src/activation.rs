//! Activations that ops apply to their results while these are at hand.

/// What an op does to its result last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(z, 0). Its derivative at 0 is 0, as in PyTorch; Candle's own `relu` takes 1 there.
    Relu,
}
