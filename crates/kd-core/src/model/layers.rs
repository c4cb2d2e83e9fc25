//! The layers that image networks are made of, with the initial values of the reference programs.

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use kd_kernels::Activation;
use kd_kernels::batch_norm::{Running, Statistics, batch_norm};
use kd_kernels::conv2d::{Geometry, Precision, StoredNorm, conv2d, conv2d_normalised};
use kd_kernels::linear::linear;

pub(crate) use super::interface::SIDE;
use super::{Classifier, Mode};
use crate::Result;
use crate::params::buffer;

/// Added to the variance by every batch-norm, and the share of the newest batch in its running
/// statistics: PyTorch's defaults.
pub(crate) const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// How the weights of convolutions begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConvInit {
    /// Normal with variance 2 / (kernel² · out); biases 0 ("Delving deep into rectifiers", He et
    /// al. 2015, by fan-out).
    HeNormal,
    /// PyTorch's default: uniform within ±1/√fan-in.
    Uniform,
    /// Uniform within ±√(3/fan-in): `kaiming_uniform_` with a = 1.
    KaimingUniform,
}

/// How a dense layer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DenseInit {
    /// PyTorch's default: weight and bias uniform within ±1/√features.
    Uniform,
    /// The weight as PyTorch's default, the bias 0.
    UniformZeroBias,
    /// The weight normal with standard deviation 0.01, the bias 0.
    SmallNormal,
}

/// A square kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

impl Window {
    /// One that sees all channels, padded so that an odd kernel of stride 1 keeps the side.
    pub fn new(kernel: usize, stride: usize) -> Self {
        Self { kernel, stride, padding: kernel / 2, groups: 1 }
    }

    /// The same, that stays inside of the map.
    pub fn unpadded(self) -> Self {
        Self { padding: 0, ..self }
    }

    /// The side of the result for maps of `side`² pixels.
    fn side_of(self, side: usize) -> usize {
        (side + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1
    }

    /// The same, in groups of channels that do not see each other.
    pub fn grouped(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

/// Makes layers, and counts the multiply-adds of one image's forward pass through them.
pub(crate) struct Maker {
    init: ConvInit,
    precision: Precision,
    pub multiply_adds: u64,
}

impl Maker {
    pub fn new(init: ConvInit, precision: Precision) -> Self {
        Self { init, precision, multiply_adds: 0 }
    }

    /// A maker of layers that begin otherwise, which counts on its own.
    pub fn beginning(&self, init: ConvInit) -> Self {
        Self::new(init, self.precision)
    }

    /// A convolution without bias, of maps of `side`² pixels.
    pub fn conv(
        &mut self,
        vb: VarBuilder,
        cin: usize,
        cout: usize,
        window: Window,
        side: usize,
    ) -> Result<Conv> {
        let Window { kernel, stride, padding, groups } = window;
        let init = match self.init {
            ConvInit::HeNormal => {
                Init::Randn { mean: 0., stdev: (2. / (kernel * kernel * cout) as f64).sqrt() }
            }
            ConvInit::Uniform => within(1., kernel * kernel * cin / groups),
            ConvInit::KaimingUniform => within(3f64.sqrt(), kernel * kernel * cin / groups),
        };
        let weight = vb.get_with_hints((cout, cin / groups, kernel, kernel), "weight", init)?;
        self.multiply_adds += (weight.elem_count() * window.side_of(side).pow(2)) as u64;
        Ok(Conv {
            weight,
            bias: None,
            geometry: Geometry { stride, padding, groups },
            precision: self.precision,
        })
    }

    /// A convolution with a bias that begins as `bias` says.
    pub fn biased_conv(
        &mut self,
        vb: VarBuilder,
        (cin, cout): (usize, usize),
        window: Window,
        side: usize,
        bias: Init,
    ) -> Result<Conv> {
        let bias = Some(vb.get_with_hints(cout, "bias", bias)?);
        Ok(Conv { bias, ..self.conv(vb, cin, cout, window, side)? })
    }

    /// A convolution without bias and the batch-norm behind it; `names` are those of the two.
    pub fn conv_norm(
        &mut self,
        vb: &VarBuilder,
        names: [&str; 2],
        (cin, cout): (usize, usize),
        window: Window,
        side: usize,
    ) -> Result<ConvNorm> {
        Ok(ConvNorm {
            conv: self.conv(vb.pp(names[0]), cin, cout, window, side)?,
            norm: BatchNorm::new(vb.pp(names[1]), cout)?,
        })
    }

    /// A dense layer.
    pub fn dense(
        &mut self,
        vb: VarBuilder,
        features: usize,
        classes: usize,
        init: DenseInit,
    ) -> Result<Dense> {
        let (weight, bias) = match init {
            DenseInit::Uniform => (within(1., features), within(1., features)),
            DenseInit::UniformZeroBias => (within(1., features), Init::Const(0.)),
            DenseInit::SmallNormal => (Init::Randn { mean: 0., stdev: 0.01 }, Init::Const(0.)),
        };
        self.multiply_adds += (features * classes) as u64;
        let weight = vb.get_with_hints((classes, features), "weight", weight)?;
        Ok(Dense { weight, bias: vb.get_with_hints(classes, "bias", bias)? })
    }
}

/// Uniform within ±scale/√fan-in.
pub(crate) fn within(scale: f64, fan_in: usize) -> Init {
    let bound = scale / (fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// A parameter as a forward pass needs it: outside training a constant, so that no graph is
/// recorded and no inner tensor kept for it.
fn parameter(tensor: &Tensor, mode: Mode) -> Tensor {
    match mode {
        Mode::Train(_) => tensor.clone(),
        Mode::Evaluate | Mode::BatchStatistics => tensor.detach(),
    }
}

/// A convolution.
pub(crate) struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    geometry: Geometry,
    precision: Precision,
}

impl Conv {
    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|bias| parameter(bias, mode));
        Ok(conv2d(
            xs,
            &parameter(&self.weight, mode),
            bias.as_ref(),
            self.geometry,
            self.precision,
        )?)
    }
}

/// A batch-norm, with the running statistics that training moves.
pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
}

impl BatchNorm {
    /// Weight and variance begin at 1, bias and mean at 0.
    pub fn new(vb: VarBuilder, channels: usize) -> Result<Self> {
        let get = |name: &str, start: f64| vb.get_with_hints(channels, name, Init::Const(start));
        let running = |name: &str, start: f64| buffer(&vb, channels, name, Init::Const(start));
        Ok(Self {
            weight: get("weight", 1.)?,
            bias: get("bias", 0.)?,
            mean: running("running_mean", 0.)?,
            var: running("running_var", 1.)?,
        })
    }

    /// act(normalised xs + residual).
    pub fn forward(
        &self,
        xs: &Tensor,
        residual: Option<&Tensor>,
        act: Activation,
        mode: Mode,
    ) -> Result<Tensor> {
        let statistics = match mode {
            Mode::Train(_) => Statistics::Batch(Some(Running {
                mean: &self.mean,
                var: &self.var,
                momentum: MOMENTUM,
            })),
            Mode::BatchStatistics => Statistics::Batch(None),
            Mode::Evaluate => Statistics::Stored { mean: &self.mean, var: &self.var },
        };
        let (weight, bias) = (parameter(&self.weight, mode), parameter(&self.bias, mode));
        Ok(batch_norm(xs, &weight, &bias, EPS, statistics, residual, act)?)
    }
}

/// A convolution and the batch-norm behind it. In evaluation the two are one convolution.
pub(crate) struct ConvNorm {
    pub conv: Conv,
    pub norm: BatchNorm,
}

impl ConvNorm {
    /// act(normalised convolution of xs + residual).
    pub fn forward(
        &self,
        xs: &Tensor,
        residual: Option<&Tensor>,
        act: Activation,
        mode: Mode,
    ) -> Result<Tensor> {
        // With stored statistics a batch-norm is an affine map, which the convolution takes over.
        if matches!(mode, Mode::Evaluate) {
            let Conv { weight, bias, geometry, precision } = &self.conv;
            let BatchNorm { weight: scale, bias: shift, mean, var } = &self.norm;
            // What a bias adds to all values of a channel, it adds to their mean.
            let centred = bias.as_ref().map(|bias| mean - bias).transpose()?;
            let mean = centred.as_ref().unwrap_or(mean);
            let norm = StoredNorm { weight: scale, bias: shift, mean, var, eps: EPS };
            return Ok(conv2d_normalised(xs, weight, norm, residual, act, *geometry, *precision)?);
        }
        self.norm.forward(&self.conv.forward(xs, mode)?, residual, act, mode)
    }
}

/// A dense layer with bias.
pub(crate) struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// Its tensors.
    pub fn classifier(&self) -> Classifier {
        Classifier { weight: self.weight.clone(), bias: self.bias.clone() }
    }

    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        Ok(linear(
            xs,
            &parameter(&self.weight, mode),
            Some(&parameter(&self.bias, mode)),
            Activation::None,
        )?)
    }
}
