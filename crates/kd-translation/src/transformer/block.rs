//! What the layers of both halves are made of: attention and feed-forward blocks with their
//! residual sums and normalisations.

use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use kd_kernels::attention::{Mask, attention};
use kd_kernels::dropout::Dropout;
use kd_kernels::feed_forward::feed_forward;
use kd_kernels::layer_norm::{layer_norm, residual_norm};
use kd_kernels::residual_add::residual_add;
use kd_kernels::{Activation, linear::linear};

use super::spec::{Norm, Stack, TransformerSpec};
use kd_core::Result;
use kd_core::model::Mode;

/// Added to a variance before its root; PyTorch's default.
const EPSILON: f64 = 1e-5;

/// What a fused op drops at this step, if it drops anything.
pub(super) fn dropping(mode: Mode, p: f64, place: &str) -> Option<Dropout> {
    match mode {
        Mode::Train(step) if p > 0. => {
            Some(Dropout { p, stream: step.stream(&format!("dropout.{place}")) })
        }
        _ => None,
    }
}

/// A dense layer's parameters: `weight [out, in]`, uniform within ±√(6·gain/(in + out)) (Glorot and
/// Bengio 2010), and `bias [out]`, 0.
pub(super) struct Dense {
    pub weight: Tensor,
    pub bias: Tensor,
}

impl Dense {
    fn new(inputs: usize, outputs: usize, gain: f64, vb: VarBuilder) -> Result<Self> {
        let up = (6. * gain / (inputs + outputs) as f64).sqrt();
        let weight =
            vb.get_with_hints((outputs, inputs), "weight", Init::Uniform { lo: -up, up })?;
        Ok(Self { weight, bias: vb.get_with_hints(outputs, "bias", Init::Const(0.))? })
    }

    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        Ok(linear(xs, &self.weight, Some(&self.bias), Activation::None)?)
    }

    fn detached(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach() }
    }
}

/// A layer normalisation's parameters: `weight`, 1, and `bias`, 0.
pub(super) struct LayerNorm {
    gain: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub fn new(width: usize, vb: VarBuilder) -> Result<Self> {
        let gain = vb.get_with_hints(width, "weight", Init::Const(1.))?;
        Ok(Self { gain, bias: vb.get_with_hints(width, "bias", Init::Const(0.))? })
    }

    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(xs, &self.gain, &self.bias, EPSILON)?)
    }

    pub fn detached(&self) -> Self {
        Self { gain: self.gain.detach(), bias: self.bias.detach() }
    }
}

/// The frame around a block: where the normalisation stands, and what is dropped of the block's
/// result.
pub(super) struct Residual {
    norm: LayerNorm,
    place: Norm,
    dropout: f64,
    name: String,
}

impl Residual {
    fn new(width: usize, spec: &TransformerSpec, name: String, vb: VarBuilder) -> Result<Self> {
        Ok(Self { norm: LayerNorm::new(width, vb)?, place: spec.norm, dropout: spec.dropout, name })
    }

    fn around(
        &self,
        xs: &Tensor,
        mode: Mode,
        block: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let dropout = dropping(mode, self.dropout, &self.name);
        match self.place {
            Norm::Post => Ok(residual_norm(
                xs,
                &block(xs)?,
                &self.norm.gain,
                &self.norm.bias,
                EPSILON,
                dropout,
            )?),
            Norm::Pre => Ok(residual_add(xs, &block(&self.norm.forward(xs)?)?, dropout)?),
        }
    }

    fn detached(&self) -> Self {
        Self { norm: self.norm.detached(), name: self.name.clone(), ..*self }
    }
}

/// Keys and values of one attention, `[b, t, width]` each.
#[derive(Clone)]
pub(super) struct KeysValues {
    pub keys: Tensor,
    pub values: Tensor,
}

/// Attention of `heads` heads, with its residual sum.
pub(super) struct AttentionBlock {
    query: Dense,
    key: Dense,
    value: Dense,
    output: Dense,
    residual: Residual,
    heads: usize,
    dropout: f64,
    name: String,
}

impl AttentionBlock {
    /// `width` is that of the queries and the result, `memory` that of what is attended to;
    /// parameters are under `part`, and the normalisation's under `{part}_layer_norm`.
    pub fn new(
        stack: &Stack,
        memory: usize,
        part: &str,
        spec: &TransformerSpec,
        name: &str,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let name = format!("{name}.{part}");
        let (width, inner) = (stack.width, vb.pp(part));
        // Projections of queries, keys and values begin as one packed matrix would: that halves the
        // bound's square.
        Ok(Self {
            query: Dense::new(width, width, 0.5, inner.pp("q_proj"))?,
            key: Dense::new(memory, width, 0.5, inner.pp("k_proj"))?,
            value: Dense::new(memory, width, 0.5, inner.pp("v_proj"))?,
            output: Dense::new(width, width, 1., inner.pp("out_proj"))?,
            residual: Residual::new(
                width,
                spec,
                name.clone(),
                vb.pp(format!("{part}_layer_norm")),
            )?,
            heads: stack.heads,
            dropout: spec.attention_dropout,
            name,
        })
    }

    /// Keys and values of `memory`.
    pub fn project(&self, memory: &Tensor) -> Result<KeysValues> {
        Ok(KeysValues { keys: self.key.forward(memory)?, values: self.value.forward(memory)? })
    }

    /// Attention of `xs` to what `look` gives for the block's (possibly normalised) input.
    pub fn forward(
        &self,
        xs: &Tensor,
        mask: Mask,
        mode: Mode,
        look: impl FnOnce(&Tensor) -> Result<KeysValues>,
    ) -> Result<Tensor> {
        self.residual.around(xs, mode, |xs| {
            let KeysValues { keys, values } = look(xs)?;
            let weights = dropping(mode, self.dropout, &format!("{}.weights", self.name));
            let mixed =
                attention(&self.query.forward(xs)?, &keys, &values, self.heads, mask, weights)?;
            self.output.forward(&mixed)
        })
    }

    pub fn detached(&self) -> Self {
        let [query, key, value, output] =
            [&self.query, &self.key, &self.value, &self.output].map(Dense::detached);
        Self {
            query,
            key,
            value,
            output,
            residual: self.residual.detached(),
            name: self.name.clone(),
            ..*self
        }
    }
}

/// Two dense layers with a ReLU between them, with their residual sum.
pub(super) struct FeedForwardBlock {
    first: Dense,
    second: Dense,
    residual: Residual,
    dropout: f64,
    name: String,
}

impl FeedForwardBlock {
    pub fn new(stack: &Stack, spec: &TransformerSpec, name: &str, vb: &VarBuilder) -> Result<Self> {
        let name = format!("{name}.feed-forward");
        Ok(Self {
            first: Dense::new(stack.width, stack.feed_forward, 1., vb.pp("fc1"))?,
            second: Dense::new(stack.feed_forward, stack.width, 1., vb.pp("fc2"))?,
            residual: Residual::new(stack.width, spec, name.clone(), vb.pp("final_layer_norm"))?,
            dropout: spec.relu_dropout,
            name,
        })
    }

    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        self.residual.around(xs, mode, |xs| {
            let hidden = dropping(mode, self.dropout, &format!("{}.hidden", self.name));
            Ok(feed_forward(
                xs,
                &self.first.weight,
                &self.first.bias,
                &self.second.weight,
                &self.second.bias,
                hidden,
            )?)
        })
    }

    pub fn detached(&self) -> Self {
        let [first, second] = [&self.first, &self.second].map(Dense::detached);
        Self { first, second, residual: self.residual.detached(), name: self.name.clone(), ..*self }
    }
}
