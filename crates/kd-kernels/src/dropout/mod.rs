//! Inverted dropout whose mask is a function of a stream.

pub(crate) mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::stream::Stream;
use crate::switch::takes_kernel;

/// What a fused op drops, as [`dropout`] takes it: the fraction and the stream that decides where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability that an element becomes 0, in [0, 1).
    pub p: f64,
    /// The stream whose word i decides on element i of what is dropped.
    pub stream: Stream,
}

impl Dropout {
    /// Errors where p is outside its domain, naming `op`.
    pub(crate) fn check(dropout: Option<Dropout>, op: &str) -> Result<()> {
        match dropout {
            Some(Dropout { p, .. }) if !(0.0..1.0).contains(&p) => {
                bail!("{op}: expected dropout with p in [0, 1), got {p}")
            }
            _ => Ok(()),
        }
    }
}

/// Inverted dropout: y_i = x_i/(1 − p) where element i is kept, and 0 where it is not, so that the
/// expectation of y is x.
///
/// `xs` of any shape → the same shape. Element i, counted in row-major order of the logical shape
/// whatever the strides, is kept iff `stream.u32_at(i) >= p·2^32`. Backward: ∂x_i = ∂y_i/(1 − p)
/// where kept, else 0; the mask is derived again from the stream, not kept. `p` = 0 returns `xs`
/// itself.
///
/// Errors: p outside [0, 1).
///
/// ```
/// use candle_core::{Device, DType, Tensor};
/// use kd_kernels::{dropout::dropout, stream::Stream};
/// let ys = dropout(&Tensor::ones(1000, DType::F32, &Device::Cpu)?, 0.5, Stream::new(1, 0))?.to_vec1::<f32>()?;
/// assert!(ys.iter().all(|&y| y == 0.0 || y == 2.0));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn dropout(xs: &Tensor, p: f64, stream: Stream) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        bail!("dropout: expected p in [0, 1), got {p}");
    }
    if p == 0.0 {
        return Ok(xs.clone());
    }
    if takes_kernel(&[xs])? {
        xs.contiguous()?.apply_op1(cpu::DropoutMask::new(p, stream))
    } else {
        reference::dropout(xs, p, stream)
    }
}

/// [`reference::dropout`] where there is one to apply.
pub(crate) fn reference_of(xs: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    match dropout {
        Some(Dropout { p, stream }) if p > 0.0 => reference::dropout(xs, p, stream),
        _ => Ok(xs.clone()),
    }
}

/// The least word that keeps its element: p·2^32 rounded up, at most the largest word.
fn threshold(p: f64) -> u32 {
    (p * 4294967296.0).ceil() as u32
}
