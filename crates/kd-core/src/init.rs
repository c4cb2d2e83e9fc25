//! Initial values of parameters, drawn by name.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::init::NormalOrUniform;

use crate::Seed;

/// Draws a parameter's initial value from the stream of its own name, so that it does not depend on
/// which other parameters exist, or on the order in which they are made. The distributions are
/// [`candle_nn::Init`]'s.
///
/// # Errors
/// When the tensor cannot be made on the device.
pub fn draw(
    init: Init,
    name: &str,
    shape: &Shape,
    seed: Seed,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let count = shape.elem_count();
    let stream = seed.stream(name, 0, 0);
    let normal = |mean: f64, std: f64| -> Vec<f32> {
        let mut values = vec![0f32; count];
        stream.fill_normal(0, &mut values);
        values.iter_mut().for_each(|v| *v = (f64::from(*v) * std + mean) as f32);
        values
    };
    let uniform = |lo: f64, up: f64| -> Vec<f32> {
        let mut values = vec![0f32; count];
        stream.fill_uniform(0, &mut values);
        values.iter_mut().for_each(|v| *v = (f64::from(*v) * (up - lo) + lo) as f32);
        values
    };
    let values = match init {
        Init::Const(c) => vec![c as f32; count],
        Init::Randn { mean, stdev } => normal(mean, stdev),
        Init::Uniform { lo, up } => uniform(lo, up),
        Init::Kaiming { dist, fan, non_linearity } => {
            let std = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => normal(0., std),
                NormalOrUniform::Uniform => uniform(-(3f64.sqrt() * std), 3f64.sqrt() * std),
            }
        }
    };
    Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
}
