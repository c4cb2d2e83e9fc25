//! [`super::dropout`] from stock Candle ops.

use candle_core::{Result, Tensor};

use crate::stream::Stream;

/// The twin of [`super::dropout`]; any device and float dtype. The mask is filled on the host and
/// sent to the device.
pub fn dropout(xs: &Tensor, p: f64, stream: Stream) -> Result<Tensor> {
    let mut words = vec![0u32; xs.elem_count()];
    stream.fill_u32(0, &mut words);
    let threshold = super::threshold(p);
    let kept: Vec<f32> = words.iter().map(|&w| if w >= threshold { 1.0 } else { 0.0 }).collect();
    let mask = Tensor::from_vec(kept, xs.shape(), xs.device())?.to_dtype(xs.dtype())?;
    (xs * mask)? * (1.0 / (1.0 - p))
}
