//! What brings levels of different channels and sizes together: section 3.3 of the paper.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use kd_kernels::Activation;
use kd_kernels::attention_fusion::attention_fusion;
use kd_kernels::conv2d::Precision;
use kd_kernels::upsample::upsample_nearest;

use crate::Result;
use crate::model::Mode;
use crate::model::layers::{ConvInit, ConvNorm, Maker, Window, within};

/// Attention-based fusion (ABF), or the sum in its place, of a level x and the residual y of the
/// level behind it:
///
/// x' = norm(conv1×1(x)), y' = y resized to x'; (a, b) = sigmoid(conv1×1([x'; y'])) are two maps of
/// one channel; r = a·x' + b·y', or x' + y' without attention, and x' alone where there is no y;
/// the residual for the level before is r resized to the teacher's size, and the
/// result norm(conv3×3(residual)).
///
/// Resizing repeats pixels. Nothing is activated. The parts have the names of the official
/// program's checkpoints: `conv1`, `conv2`, `att_conv`.
pub(super) struct Fusion {
    narrow: ConvNorm,
    widen: ConvNorm,
    attention: Option<Attention>,
}

/// What a fusion gives.
pub(super) struct Fused {
    /// For the teacher's map: `[batch, teacher's channels, teacher's size]`.
    pub out: Tensor,
    /// For the next, shallower, level: `[batch, mid, teacher's size]`.
    pub residual: Tensor,
}

impl Fusion {
    /// From `channels` over `mid` to `out` channels. Convolutions begin uniform within
    /// ±√(3/fan-in), the attention as PyTorch's default.
    pub fn new(
        vb: &VarBuilder,
        precision: Precision,
        channels: usize,
        mid: usize,
        out: usize,
        attends: bool,
    ) -> Result<Self> {
        let mut make = Maker::new(ConvInit::KaimingUniform, precision);
        let narrow =
            make.conv_norm(&vb.pp("conv1"), ["0", "1"], (channels, mid), Window::new(1, 1), 1)?;
        let widen =
            make.conv_norm(&vb.pp("conv2"), ["0", "1"], (mid, out), Window::new(3, 1), 1)?;
        let attention =
            attends.then(|| Attention::new(&vb.pp("att_conv").pp("0"), mid)).transpose()?;
        Ok(Self { narrow, widen, attention })
    }

    /// Fuses the level `xs` with the `residual` behind it, if there is one.
    pub fn forward(
        &self,
        xs: &Tensor,
        residual: Option<&Tensor>,
        size: (usize, usize),
        mode: Mode,
    ) -> Result<Fused> {
        let mut x = self.narrow.forward(xs, None, Activation::None, mode)?;
        if let Some(residual) = residual {
            x = match &self.attention {
                Some(Attention { weight, bias }) => {
                    attention_fusion(&x, residual, &weight.flatten_from(1)?, bias)?
                }
                None => {
                    let (_, _, height, width) = x.dims4()?;
                    (x + upsample_nearest(residual, (height, width))?)?
                }
            };
        }
        let residual = upsample_nearest(&x, size)?;
        Ok(Fused { out: self.widen.forward(&residual, None, Activation::None, mode)?, residual })
    }
}

/// The two maps that weigh a level and the residual: sigmoid(conv1×1(\[x; y\])).
struct Attention {
    weight: Tensor,
    bias: Tensor,
}

impl Attention {
    /// Of two maps of `channels`; begins uniform within ±1/√(2·channels), PyTorch's default.
    fn new(vb: &VarBuilder, channels: usize) -> Result<Self> {
        let init = within(1., 2 * channels);
        Ok(Self {
            weight: vb.get_with_hints((2, 2 * channels, 1, 1), "weight", init)?,
            bias: vb.get_with_hints(2, "bias", init)?,
        })
    }
}

/// A level brought to a teacher's channels and size without any other:
/// norm(conv3×3(resized(norm(conv1×1(x))))), as a [`Fusion`] without a residual.
pub(super) struct Projection(Fusion);

impl Projection {
    /// From `channels` over `mid` to `out` channels.
    pub fn new(
        vb: &VarBuilder,
        precision: Precision,
        channels: usize,
        mid: usize,
        out: usize,
    ) -> Result<Self> {
        Ok(Self(Fusion::new(vb, precision, channels, mid, out, false)?))
    }

    pub fn forward(&self, xs: &Tensor, size: (usize, usize), mode: Mode) -> Result<Tensor> {
        Ok(self.0.forward(xs, None, size, mode)?.out)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::Seed;
    use crate::params::Params;
    use crate::seed::StepSeed;

    /// `scale · sin(a·i + b)` over the elements in row-major order.
    fn g(shape: &[usize], scale: f64, a: f64, b: f64) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|i| (scale * (a * i as f64 + b).sin()) as f32)
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
    }

    /// The tensors whose place gives their formula in the oracle program, which counts from 1.
    const PLACES: [&str; 8] = [
        "conv1.0.weight",
        "conv1.1.weight",
        "conv1.1.bias",
        "conv2.0.weight",
        "conv2.1.weight",
        "conv2.1.bias",
        "att_conv.0.weight",
        "att_conv.0.bias",
    ];

    fn numbers(json: &serde_json::Value) -> Vec<f64> {
        json.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
    }

    fn close(ours: &Tensor, theirs: &[f64], what: &str) -> Result<()> {
        let ours: Vec<f32> = ours.flatten_all()?.to_vec1()?;
        assert_eq!(ours.len(), theirs.len(), "{what}");
        let size = theirs.iter().map(|v| v * v).sum::<f64>().sqrt();
        let gap =
            ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt();
        assert!(gap <= 2e-5 * size, "{what}: off by {gap} of {size}");
        Ok(())
    }

    /// A chain of two fusions, and what the golden file says of it.
    fn chain(name: &str) -> Result<()> {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/golden/review.json")).expect("JSON");
        let golden = &golden["chains"][name];
        let (params, vb) = Params::seeded(Seed(0), &Device::Cpu);
        let mode = Mode::Train(StepSeed { seed: Seed(0), epoch: 0, step: 0 });
        let (mut fusions, mut inputs, mut outs) = (Vec::new(), Vec::new(), Vec::new());
        for (k, level) in golden["levels"].as_array().expect("levels").iter().enumerate() {
            let number = |name: &str| level[name].as_f64().expect("a number");
            let shape: Vec<usize> =
                numbers(&level["shape"]).into_iter().map(|v| v as usize).collect();
            let (mid, out) = (number("mid") as usize, number("out_channels") as usize);
            fusions.push(Fusion::new(
                &vb.pp(format!("abf{k}")),
                Precision::Precise,
                shape[1],
                mid,
                out,
                k > 0,
            )?);
            inputs.push(Var::from_tensor(&g(&shape, 1., number("a"), number("b")))?);
            outs.push(number("out") as usize);
        }
        for (name, var) in params.named() {
            if let Some(place) =
                PLACES.iter().position(|place| name.ends_with(place) && !place.contains(".1."))
            {
                var.set(&g(var.dims(), 0.3, 0.37, 0.1 * (place + 1) as f64))?;
            }
        }
        let (mut residual, mut loss) = (None, Tensor::new(0f32, &Device::Cpu)?);
        for (k, fusion) in fusions.iter().enumerate() {
            let fused = fusion.forward(
                inputs[k].as_tensor(),
                residual.as_ref(),
                (outs[k], outs[k]),
                mode,
            )?;
            for (what, tensor) in [("y", &fused.out), ("r", &fused.residual)] {
                close(
                    tensor,
                    &numbers(&golden["outputs"][format!("{what}{k}")]["values"]),
                    &format!("{name}, {what}{k}"),
                )?;
                loss = (loss + (tensor * g(tensor.dims(), 1., 1.9, 0.3))?.sum_all()?)?;
            }
            residual = Some(fused.residual);
        }
        let gradients = kd_kernels::backward(&loss)?;
        let gradient = |of: &Tensor, what: &str| {
            gradients.get(of).cloned().unwrap_or_else(|| panic!("{what} has no gradient"))
        };
        for (k, input) in inputs.iter().enumerate() {
            close(
                &gradient(input, "an input"),
                &numbers(&golden["input_gradients"][k]),
                &format!("{name}, gradient of input {k}"),
            )?;
        }
        assert_eq!(params.named().len(), golden["gradients"].as_object().expect("gradients").len());
        for (parameter, var) in params.named() {
            close(
                &gradient(&var, &parameter),
                &numbers(&golden["gradients"][&parameter]),
                &format!("{name}, gradient of {parameter}"),
            )?;
        }
        for (buffer, var) in params.buffers() {
            close(&var, &numbers(&golden["running"][&buffer]), &format!("{name}, {buffer}"))?;
        }
        Ok(())
    }

    #[test]
    fn a_chain_whose_levels_are_resized_has_pytorchs_values_and_gradients() -> Result<()> {
        chain("resized")
    }

    #[test]
    fn a_chain_whose_levels_have_one_size_has_pytorchs_values_and_gradients() -> Result<()> {
        chain("same-size")
    }
}
