//! The taps that one forward pass was asked for.

use candle_core::Tensor;
use kd_kernels::Activation;
use kd_kernels::relu::relu;

use super::layers::SIDE;
use super::{Activated, Model, Outputs, Tap};
use crate::{Error, Result};

/// A tap of a map of `side`² pixels; 0 for a vector.
pub(super) fn tap(
    name: impl Into<String>,
    channels: usize,
    side: usize,
    activated: Activated,
) -> Tap {
    Tap {
        name: name.into(),
        channels,
        stride: SIDE.checked_div(side).unwrap_or(0),
        activated,
        norm: None,
    }
}

/// Collects taps by name while a forward pass runs.
pub(super) struct TapRequest<'a> {
    names: &'a [&'a str],
    found: Vec<Option<Tensor>>,
}

impl<'a> TapRequest<'a> {
    /// # Errors
    /// Bad input when the network has no such tap.
    pub fn of(network: &impl Model, names: &'a [&'a str]) -> Result<Self> {
        names.iter().try_for_each(|name| network.tap_index(name).map(drop))?;
        Ok(Self { names, found: vec![None; names.len()] })
    }

    /// Whether `name` is among them.
    pub fn wants(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Keeps the tensor if it was asked for.
    pub fn offer(&mut self, name: &str, tensor: &Tensor) {
        for (wanted, found) in self.names.iter().zip(&mut self.found) {
            if *wanted == name {
                *found = Some(tensor.clone());
            }
        }
    }

    /// Runs the parts of a stage one after the other, `run(part, input, activation)`, and offers
    /// the result as `name`. Each part ends in a ReLU that it can fuse; the last one's stays
    /// apart only where the tensor before it was asked for, as `name.pre`.
    pub fn stage<P>(
        &mut self,
        name: &str,
        mut xs: Tensor,
        parts: &[P],
        run: impl Fn(&P, &Tensor, Activation) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let before = format!("{name}.pre");
        for (i, part) in (1..).zip(parts) {
            xs = if i == parts.len() && self.wants(&before) {
                let signed = run(part, &xs, Activation::None)?;
                self.offer(&before, &signed);
                relu(&signed)?
            } else {
                run(part, &xs, Activation::Relu)?
            };
        }
        self.offer(name, &xs);
        Ok(xs)
    }

    /// What the pass returns.
    ///
    /// # Errors
    /// When a tap that the network declares was never offered: a fault of the network.
    pub fn outputs(self, logits: Tensor) -> Result<Outputs> {
        let missing = |name: &str| {
            Error::Tensor(candle_core::Error::Msg(format!(
                "tap '{name}' is declared but was not computed"
            )))
        };
        let taps = self
            .names
            .iter()
            .zip(self.found)
            .map(|(name, found)| found.ok_or_else(|| missing(name)));
        Ok(Outputs { logits, taps: taps.collect::<Result<_>>()? })
    }
}
