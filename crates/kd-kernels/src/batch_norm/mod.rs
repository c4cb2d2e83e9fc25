//! Batch normalisation, with the residual sum and the rectifier that often follow it.

mod cpu;
mod group;
mod narrow;
pub mod reference;
mod wide;

use crate::Activation;
use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, Var, bail};

/// Where the mean and the variance come from.
#[derive(Clone, Copy, Debug)]
pub enum Statistics<'a> {
    /// From x, over batch and pixels, as in training; the running statistics, if given, are moved
    /// towards them. Gradients flow through the statistics.
    Batch(Option<Running<'a>>),
    /// Given, as in evaluation: constants.
    Stored {
        /// The means, `[c]`.
        mean: &'a Tensor,
        /// The variances, `[c]`.
        var: &'a Tensor,
    },
}

/// The running averages of a layer: running ← (1 − momentum) · running + momentum · batch, with the
/// batch's mean and its unbiased variance, as PyTorch's.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// The averaged means: a variable, `[c]`, written in place.
    pub mean: &'a Tensor,
    /// The averaged variances: a variable, `[c]`, written in place.
    pub var: &'a Tensor,
    /// The share of the newest batch; PyTorch's default is 0.1.
    pub momentum: f64,
}

/// y = act((x − mean) / √(var + eps) · weight + bias + residual), by channel: PyTorch's
/// `F.batch_norm`, then the sum and the activation.
///
/// * `x`: `[n, c, h, w]` or `[n, c]`.
/// * `weight`, `bias`: `[c]`.
/// * `eps`: added to the variance; at least 0.
/// * `statistics`: with [`Statistics::Batch`], mean and variance are those of x over n, h and w,
///   the variance divided by their product.
/// * `residual`: of x's shape.
/// * result: of x's shape, contiguous.
///
/// Gradients flow to `x`, `weight`, `bias` and `residual`, as far as each tracks one. `f32` tensors
/// on the CPU run the kernel while [`crate::kernels_enabled`]; all others run
/// [`reference::batch_norm`]. Results do not depend on the number of threads. Fails on shapes that
/// do not fit, on running statistics that are not variables, and, as PyTorch, on batch statistics
/// of a single value a channel.
pub fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    statistics: Statistics,
    residual: Option<&Tensor>,
    act: Activation,
) -> Result<Tensor> {
    let mut all = vec![x, weight, bias];
    all.extend(residual);
    match statistics {
        Statistics::Batch(Some(running)) => all.extend([running.mean, running.var]),
        Statistics::Batch(None) => {}
        Statistics::Stored { mean, var } => all.extend([mean, var]),
    }
    if takes_kernel(&all)? {
        cpu::batch_norm(x, weight, bias, eps, statistics, residual, act)
    } else {
        reference::batch_norm(x, weight, bias, eps, statistics, residual, act)
    }
}

/// The sizes of one normalisation, which fit each other.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Images.
    n: usize,
    /// Channels.
    c: usize,
    /// Pixels of an image; 1 where x is `[n, c]`.
    pixels: usize,
}

impl Sizes {
    fn of(
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        statistics: &Statistics,
        residual: Option<&Tensor>,
    ) -> Result<Self> {
        let sizes = match x.dims() {
            &[n, c] => Self { n, c, pixels: 1 },
            &[n, c, h, w] => Self { n, c, pixels: h * w },
            dims => bail!("batch_norm: x has shape {dims:?}, expected [n, c, h, w] or [n, c]"),
        };
        let c = sizes.c;
        let mut vectors = vec![("weight", weight), ("bias", bias)];
        match statistics {
            Statistics::Batch(running) => {
                if sizes.count() < 2 {
                    bail!(
                        "batch_norm: x has shape {:?}, expected at least 2 values a channel for batch statistics",
                        x.dims()
                    )
                }
                if let Some(running) = running {
                    vectors.extend([
                        ("running mean", running.mean),
                        ("running variance", running.var),
                    ]);
                    if !running.mean.is_variable() || !running.var.is_variable() {
                        bail!(
                            "batch_norm: expected running statistics that are variables, got a tensor that is not"
                        )
                    }
                }
            }
            Statistics::Stored { mean, var } => {
                vectors.extend([("mean", *mean), ("variance", *var)])
            }
        }
        for (name, vector) in vectors {
            if vector.dims() != [c] {
                bail!(
                    "batch_norm: {name} has shape {:?}, expected [{c}] for x of shape {:?}",
                    vector.dims(),
                    x.dims()
                )
            }
        }
        match residual {
            Some(residual) if residual.dims() != x.dims() => {
                bail!(
                    "batch_norm: residual has shape {:?}, expected that of x, {:?}",
                    residual.dims(),
                    x.dims()
                )
            }
            _ => Ok(sizes),
        }
    }

    /// Values of a channel.
    fn count(&self) -> usize {
        self.n * self.pixels
    }
}

impl Running<'_> {
    /// Moves the averages towards a batch's mean and biased variance, `[c]`, of `count` values a
    /// channel.
    fn update(&self, mean: &Tensor, var: &Tensor, count: usize) -> Result<()> {
        let unbiased = count as f64 / (count - 1) as f64;
        self.move_towards(self.mean, mean, 1.0)?;
        self.move_towards(self.var, var, unbiased)
    }

    fn move_towards(&self, average: &Tensor, batch: &Tensor, scale: f64) -> Result<()> {
        let batch = batch.detach().to_dtype(average.dtype())?;
        let moved = (average.detach().affine(1.0 - self.momentum, 0.0)?
            + batch.affine(self.momentum * scale, 0.0)?)?;
        Var::from_tensor(average)?.set(&moved)
    }
}
