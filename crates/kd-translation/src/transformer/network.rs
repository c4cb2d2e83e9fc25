//! The network.

use candle_core::{Device, Tensor};
use candle_nn::{Init, VarBuilder};
use kd_core::model::Mode;
use kd_core::{Error, Result};
use kd_kernels::attention::Mask;
use kd_kernels::dropout::dropout;
use kd_kernels::embedding::embedding;
use kd_kernels::{Activation, linear::linear};

use super::block::{AttentionBlock, FeedForwardBlock, LayerNorm, dropping};
use super::positions::sinusoidal;
use super::spec::{Embeddings, Norm, Stack, TransformerSpec};

/// The longest sentence, in words, that a network reads or writes.
pub const MAX_POSITIONS: usize = 1024;

/// Word vectors of one side: the table, scaled by √width, plus positions.
pub(super) struct TokenEmbedding {
    table: Tensor,
    width: usize,
    positions: Tensor,
    dropout: f64,
    name: &'static str,
    padding: u32,
}

impl TokenEmbedding {
    /// `offset` words stand before the first of `ids` `[b, t]`.
    pub(super) fn forward(&self, ids: &Tensor, offset: usize, mode: Mode) -> Result<Tensor> {
        let t = ids.dim(1)?;
        if offset + t > MAX_POSITIONS {
            return Err(Error::bad_input(format!(
                "expected a sentence of at most {MAX_POSITIONS} words, got {}",
                offset + t
            )));
        }
        let positions = self.positions.narrow(0, offset, t)?;
        let xs = embedding(
            ids,
            &self.table,
            (self.width as f64).sqrt(),
            Some(&positions),
            Some(self.padding),
        )?;
        match dropping(mode, self.dropout, self.name) {
            Some(d) => Ok(dropout(&xs, d.p, d.stream)?),
            None => Ok(xs),
        }
    }
}

/// Positions of both sides. They are constants, so a network that is built at every step takes
/// those of the last.
pub(crate) struct Positions([Tensor; 2]);

impl Positions {
    pub fn new(spec: &TransformerSpec, device: &Device) -> Result<Self> {
        let of = |stack: &Stack| sinusoidal(MAX_POSITIONS, stack.width, device);
        Ok(Self([of(&spec.encoder)?, of(&spec.decoder)?]))
    }
}

struct EncoderLayer {
    attention: AttentionBlock,
    feed_forward: FeedForwardBlock,
}

pub(super) struct DecoderLayer {
    pub(super) own: AttentionBlock,
    pub(super) source: AttentionBlock,
    pub(super) feed_forward: FeedForwardBlock,
}

/// A Transformer. Parameters have fairseq's names: `encoder.embed_tokens.weight`,
/// `encoder.layers.{i}.self_attn.{q,k,v,out}_proj.*`, `encoder.layers.{i}.self_attn_layer_norm.*`,
/// `encoder.layers.{i}.{fc1,fc2,final_layer_norm}.*`, `encoder.layer_norm.*` (pre-norm only),
/// the same under `decoder.`, with `encoder_attn` beside `self_attn`, and
/// `decoder.output_projection.weight` unless it is tied.
pub struct Transformer {
    pub(super) spec: TransformerSpec,
    source: TokenEmbedding,
    pub(super) target: TokenEmbedding,
    encoder: Vec<EncoderLayer>,
    pub(super) decoder: Vec<DecoderLayer>,
    encoder_norm: Option<LayerNorm>,
    pub(super) decoder_norm: Option<LayerNorm>,
    output: Tensor,
}

/// What the encoder made of some sentences.
#[derive(Clone)]
pub struct Memory {
    /// `[b, ts, width]`.
    pub states: Tensor,
    /// Words of each sentence, without padding.
    pub lengths: Vec<usize>,
}

impl Transformer {
    /// The id of padding, in either vocabulary.
    pub const PADDING: u32 = 0;

    /// Builds the network; `vb` decides whether its parameters train, and may hand it tensors that
    /// are computed from others.
    ///
    /// # Errors
    /// Bad input when the specification makes no sense.
    pub fn new(spec: &TransformerSpec, vb: VarBuilder) -> Result<Self> {
        spec.check()?;
        Self::with_positions(spec, &Positions::new(spec, vb.device())?, vb)
    }

    /// The same, with the positions of a network of the same widths.
    pub(crate) fn with_positions(
        spec: &TransformerSpec,
        positions: &Positions,
        vb: VarBuilder,
    ) -> Result<Self> {
        spec.check()?;
        let (encoder, decoder) = (vb.pp("encoder"), vb.pp("decoder"));
        let table = |vb: VarBuilder, words: usize, width: usize| {
            vb.get_with_hints(
                (words, width),
                "weight",
                Init::Randn { mean: 0., stdev: (width as f64).powf(-0.5) },
            )
        };
        let (e, d) = (&spec.encoder, &spec.decoder);
        let source = table(encoder.pp("embed_tokens"), spec.source_vocabulary, e.width)?;
        let target = match spec.embeddings {
            Embeddings::Shared => source.clone(),
            _ => table(decoder.pp("embed_tokens"), spec.target_vocabulary, d.width)?,
        };
        let output = match spec.embeddings {
            Embeddings::Separate => {
                table(decoder.pp("output_projection"), spec.target_vocabulary, d.width)?
            }
            _ => target.clone(),
        };
        let words =
            |table: Tensor, width: usize, positions: &Tensor, name: &'static str| TokenEmbedding {
                table,
                width,
                positions: positions.clone(),
                dropout: spec.dropout,
                name,
                padding: Self::PADDING,
            };
        let Positions([read, written]) = positions;
        let encoder_layers = (0..e.layers).map(|i| {
            let (name, vb) = (format!("encoder.{i}"), encoder.pp("layers").pp(i));
            let attention = AttentionBlock::new(e, e.width, "self_attn", spec, &name, &vb)?;
            Ok(EncoderLayer {
                attention,
                feed_forward: FeedForwardBlock::new(e, spec, &name, &vb)?,
            })
        });
        let decoder_layers = (0..d.layers).map(|i| {
            let (name, vb) = (format!("decoder.{i}"), decoder.pp("layers").pp(i));
            let own = AttentionBlock::new(d, d.width, "self_attn", spec, &name, &vb)?;
            let source = AttentionBlock::new(d, e.width, "encoder_attn", spec, &name, &vb)?;
            Ok(DecoderLayer {
                own,
                source,
                feed_forward: FeedForwardBlock::new(d, spec, &name, &vb)?,
            })
        });
        let last = |vb: &VarBuilder, width: usize| match spec.norm {
            Norm::Pre => LayerNorm::new(width, vb.pp("layer_norm")).map(Some),
            Norm::Post => Ok(None),
        };
        Ok(Self {
            source: words(source, e.width, read, "encoder.words"),
            target: words(target, d.width, written, "decoder.words"),
            encoder: encoder_layers.collect::<Result<_>>()?,
            decoder: decoder_layers.collect::<Result<_>>()?,
            encoder_norm: last(&encoder, e.width)?,
            decoder_norm: last(&decoder, d.width)?,
            output,
            spec: spec.clone(),
        })
    }

    /// The same network without variables: it computes the same from the same memory, and records
    /// no graph.
    pub fn detached(&self) -> Self {
        let words = |words: &TokenEmbedding| TokenEmbedding {
            table: words.table.detach(),
            positions: words.positions.clone(),
            ..*words
        };
        let encoder = |layer: &EncoderLayer| EncoderLayer {
            attention: layer.attention.detached(),
            feed_forward: layer.feed_forward.detached(),
        };
        let decoder = |layer: &DecoderLayer| DecoderLayer {
            own: layer.own.detached(),
            source: layer.source.detached(),
            feed_forward: layer.feed_forward.detached(),
        };
        Self {
            spec: self.spec.clone(),
            source: words(&self.source),
            target: words(&self.target),
            encoder: self.encoder.iter().map(encoder).collect(),
            decoder: self.decoder.iter().map(decoder).collect(),
            encoder_norm: self.encoder_norm.as_ref().map(LayerNorm::detached),
            decoder_norm: self.decoder_norm.as_ref().map(LayerNorm::detached),
            output: self.output.detach(),
        }
    }

    /// What it was built from.
    pub fn spec(&self) -> &TransformerSpec {
        &self.spec
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.output.device()
    }

    /// The table of the output projection, `[target vocabulary, decoder width]`: logits are `hidden
    /// · tableᵀ`.
    pub fn output_table(&self) -> &Tensor {
        &self.output
    }

    /// Reads sentences: `source` u32 `[b, ts]`, of which row i has `lengths[i]` words and then
    /// padding.
    ///
    /// # Errors
    /// Bad input when a sentence is too long, a tensor error when shapes or ids do not fit.
    pub fn encode(&self, source: &Tensor, lengths: &[usize], mode: Mode) -> Result<Memory> {
        let mask = Mask { key_lengths: Some(lengths), causal: false };
        let mut xs = self.source.forward(source, 0, mode)?;
        for layer in &self.encoder {
            xs = layer.attention.forward(&xs, mask, mode, |xs| layer.attention.project(xs))?;
            xs = layer.feed_forward.forward(&xs, mode)?;
        }
        if let Some(norm) = &self.encoder_norm {
            xs = norm.forward(&xs)?;
        }
        Ok(Memory { states: xs, lengths: lengths.to_vec() })
    }

    /// What the decoder makes of the words before each place: `target` u32 `[b, tt]`, beginning
    /// with the start symbol, gives `[b, tt, decoder width]`. No place sees a later word;
    /// padding at the end needs no mask.
    ///
    /// # Errors
    /// As [`Transformer::encode`].
    pub fn decode(&self, memory: &Memory, target: &Tensor, mode: Mode) -> Result<Tensor> {
        let own = Mask { key_lengths: None, causal: true };
        let source = Mask { key_lengths: Some(&memory.lengths), causal: false };
        let mut xs = self.target.forward(target, 0, mode)?;
        for layer in &self.decoder {
            xs = layer.own.forward(&xs, own, mode, |xs| layer.own.project(xs))?;
            xs = layer
                .source
                .forward(&xs, source, mode, |_| layer.source.project(&memory.states))?;
            xs = layer.feed_forward.forward(&xs, mode)?;
        }
        match &self.decoder_norm {
            Some(norm) => norm.forward(&xs),
            None => Ok(xs),
        }
    }

    /// Logits of hidden states: `[.., decoder width]` gives `[.., target vocabulary]`.
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(linear(hidden, &self.output, None, Activation::None)?)
    }
}
