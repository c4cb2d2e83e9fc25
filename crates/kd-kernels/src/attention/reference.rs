//! Attention from stock Candle ops: the oracle of the kernel, and what runs on other devices and
//! types.

use candle_core::{Result, Tensor};

use super::{Mask, Sizes};
use crate::dropout::{self, Dropout};
use crate::softmax::reference::softmax;

/// The same function as [`super::attention`], which checks p first.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    mask: Mask,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let Sizes { b, tq, tk, head, head_v, .. } = Sizes::of(q, k, v, heads, &mask)?;
    let split = |t: &Tensor, len: usize, head: usize| {
        t.reshape((b, len, heads, head))?.transpose(1, 2)?.contiguous()
    };
    let (q, k, v) = (split(q, tq, head)?, split(k, tk, head)?, split(v, tk, head_v)?);
    let mut scores = (q.matmul(&k.t()?.contiguous()?)? * (1.0 / (head as f64).sqrt()))?;
    if mask.causal || mask.key_lengths.is_some() {
        let mut hidden = vec![0f32; b * tq * tk];
        for (at, row) in hidden.chunks_exact_mut(tk).enumerate() {
            row[mask.visible(at / tq, at % tq, tq, tk)..].fill(f32::NEG_INFINITY);
        }
        let hidden = Tensor::from_vec(hidden, (b, 1, tq, tk), q.device())?.to_dtype(q.dtype())?;
        scores = scores.broadcast_add(&hidden)?;
    }
    let weights = dropout::reference_of(&softmax(&scores)?, dropout)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((b, tq, heads * head_v))
}
