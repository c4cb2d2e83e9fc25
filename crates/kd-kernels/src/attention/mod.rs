//! Scaled dot-product attention with several heads.

mod cpu;
mod product;
pub mod reference;
mod softening;
#[cfg(test)]
mod tests;
mod view;

use crate::dropout::{Dropout, cpu::DropoutMask};
use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mask<'a> {
    /// Batch row i sees only its first `key_lengths[i]` keys, 1 to tk of them; the rest is
    /// padding. `None`: all.
    pub key_lengths: Option<&'a [usize]>,
    /// Query i sees only the keys 0 ..= i + tk − tq: nothing behind itself, where the last query
    /// is as late as the last key.
    pub causal: bool,
}

impl Mask<'_> {
    /// Everything is seen.
    pub const NONE: Mask<'static> = Mask { key_lengths: None, causal: false };

    /// How many keys query `query` of batch row `row` sees.
    pub(crate) fn visible(&self, row: usize, query: usize, tq: usize, tk: usize) -> usize {
        let keys = self.key_lengths.map_or(tk, |lengths| lengths[row]);
        if self.causal { keys.min(query + tk - tq + 1) } else { keys }
    }
}

/// Attention of several heads: for head h, a slice of the last dimension, y_h = dropout(softmax(q_h
/// · k_hᵀ / √(d/heads))) · v_h.
///
/// * `q`: `[b, tq, d]`, `k`: `[b, tk, d]`, `v`: `[b, tk, d_v]`, of any strides; d and d_v are
///   multiples of `heads`, and tk ≥ 1. Head h is columns h·d/heads to (h + 1)·d/heads of `q` and
///   `k`, and h·d_v/heads to (h + 1)·d_v/heads of `v`. No transposed copies are needed.
/// * `mask`: padding and order, see [`Mask`]. Keys that are not seen have weight 0, and they and
///   their values get no gradient from there.
/// * `dropout`: on the weights, numbered as `[b, heads, tq, tk]` in row-major order, with the mask
///   of [`crate::dropout::dropout`]; `None` in evaluation.
/// * result: `[b, tq, d_v]`, contiguous.
///
/// Gradients flow to `q`, `k` and `v`, as far as each tracks one. For one query a row and no
/// gradients, as in a beam search with cached keys and values, there is a path of its own, which
/// reads `k` and `v` where they lie: pass narrowed views of a cache. Where several hypotheses
/// of one sentence look at the same encoder output, give them as the queries `[b, beam, d]` of one
/// row.
///
/// `f32` tensors on the CPU run the kernel while [`crate::kernels_enabled`]; all others run
/// [`reference::attention`]. Fails on shapes that do not fit, on key lengths outside 1 ..= tk, on a
/// causal mask with tk < tq, and on p outside [0, 1).
///
/// Source: A. Vaswani et al., "Attention is all you need", 2017, section 3.2.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::attention::{Mask, attention};
///
/// let q = Tensor::new(&[[[0f32], [0.0]]], &Device::Cpu)?;
/// let v = Tensor::new(&[[[2f32], [4.0]]], &Device::Cpu)?;
/// let causal = Mask { causal: true, ..Mask::NONE };
/// assert_eq!(attention(&q, &q, &v, 1, causal, None)?.to_vec3::<f32>()?, [[[2.0], [3.0]]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    mask: Mask,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let sizes = Sizes::of(q, k, v, heads, &mask)?;
    Dropout::check(dropout, "attention")?;
    if takes_kernel(&[q, k, v])? {
        cpu::attention(q, k, v, sizes, &mask, DropoutMask::of(dropout))
    } else {
        reference::attention(q, k, v, heads, mask, dropout)
    }
}

/// Batch rows, queries, keys, heads, and the widths of a head in q and k, and in v.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    b: usize,
    tq: usize,
    tk: usize,
    heads: usize,
    head: usize,
    head_v: usize,
}

impl Sizes {
    /// Of tensors that fit together; others are refused.
    fn of(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: &Mask) -> Result<Self> {
        let (b, tq, d) = match q.dims() {
            &[b, tq, d] if tq > 0 => (b, tq, d),
            dims => bail!("attention: q has shape {dims:?}, expected [b, tq, d] with tq >= 1"),
        };
        let tk = match k.dims() {
            &[n, tk, width] if n == b && tk > 0 && width == d => tk,
            dims => bail!(
                "attention: k has shape {dims:?}, expected [{b}, tk, {d}] with tk >= 1 for q of shape {:?}",
                q.dims()
            ),
        };
        let d_v = match v.dims() {
            &[n, keys, d_v] if n == b && keys == tk => d_v,
            dims => bail!(
                "attention: v has shape {dims:?}, expected [{b}, {tk}, d_v] for k of shape {:?}",
                k.dims()
            ),
        };
        if heads == 0 || d == 0 || d_v == 0 || d % heads != 0 || d_v % heads != 0 {
            bail!(
                "attention: expected widths that are multiples of {heads} heads, got {d} of q and k, and {d_v} of v"
            )
        }
        if let Some(lengths) = mask.key_lengths {
            if lengths.len() != b {
                bail!("attention: expected {b} key lengths, got {}", lengths.len())
            }
            if let Some((i, length)) = lengths.iter().enumerate().find(|&(_, &n)| n == 0 || n > tk)
            {
                bail!("attention: key length {length} at index {i} is outside 1 ..= {tk}")
            }
        }
        if mask.causal && tk < tq {
            bail!(
                "attention: a causal mask needs at least as many keys as queries, got {tk} keys and {tq} queries"
            )
        }
        Ok(Self { b, tq, tk, heads, head: d / heads, head_v: d_v / heads })
    }
}
