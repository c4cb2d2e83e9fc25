//! What a convolution does to its sums while they are at hand.

use super::Activation;
use crate::multiversion::multiversioned;

/// y = act(sums + bias + residual).
#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    /// A value for each output channel, with which the sums start.
    pub bias: Option<&'a [f32]>,
    /// As long as y.
    pub residual: Option<&'a [f32]>,
    pub act: Activation,
}

impl<'a> Epilogue<'a> {
    /// Adds this bias and nothing else.
    pub(super) fn bias(bias: Option<&'a [f32]>) -> Self {
        Self { bias, residual: None, act: Activation::None }
    }

    /// Panics unless bias and residual have the lengths that the kernels trust.
    pub(super) fn check(&self, channels: usize, len: usize) {
        assert!(
            self.bias.is_none_or(|b| b.len() == channels),
            "a bias has a value for each output channel"
        );
        assert!(self.residual.is_none_or(|r| r.len() == len), "a residual is as long as y");
    }

    /// The residual and the activation, for the values of y from `start` on, which hold sums and
    /// bias.
    pub(super) fn finish(&self, start: usize, y: &mut [f32]) {
        let relu = self.act == Activation::Relu;
        match self.residual {
            Some(residual) => add(y, &residual[start..][..y.len()], relu),
            None if relu => rectify(y),
            None => {}
        }
    }
}

multiversioned! {
    fn add(y: &mut [f32], residual: &[f32], relu: bool) {
        if relu {
            y.iter_mut().zip(residual).for_each(|(y, r)| *y = rectified(*y + r));
        } else {
            y.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
        }
    }
}

multiversioned! {
    fn rectify(y: &mut [f32]) {
        y.iter_mut().for_each(|y| *y = rectified(*y));
    }
}

/// max(y, 0), where NaN stays, as in PyTorch.
#[inline(always)]
fn rectified(y: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { y }
}
