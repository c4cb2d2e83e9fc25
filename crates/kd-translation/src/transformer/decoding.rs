//! The decoder, word by word, with cached keys and values.

use candle_core::{Device, Tensor};
use kd_kernels::attention::Mask;

use super::block::KeysValues;
use super::cache::Cache;
use super::network::{Memory, Transformer};
use kd_core::Result;
use kd_core::model::Mode;

/// Hypotheses that grow by a word at a time: `beam` of them for each of b sentences, b·beam rows, a
/// sentence's rows next to each other.
///
/// Keys and values of the encoder's states are computed once, and those of the words so far are
/// kept, so a step costs the work of one word. The logits are those of [`Transformer::decode`] on
/// the whole prefix, to rounding. What is kept has no graph: nothing is learnt through it, and a
/// network that is [`Transformer::detached`] takes the least time.
pub struct Decoding<'a> {
    network: &'a Transformer,
    /// Of the encoder's states, one for each decoder layer: `[b, ts, width]`.
    source: Vec<KeysValues>,
    lengths: Vec<usize>,
    /// Of the words so far, one pair for each decoder layer, with b·beam rows.
    own: Vec<[Cache; 2]>,
    beam: usize,
    words: usize,
}

impl<'a> Decoding<'a> {
    /// Empty hypotheses of the sentences in `memory`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn new(network: &'a Transformer, memory: &Memory, beam: usize) -> Result<Self> {
        let source = network
            .decoder
            .iter()
            .map(|layer| layer.source.project(&memory.states))
            .collect::<Result<_>>()?;
        let empty = || {
            Cache::new(memory.lengths.len() * beam, network.spec.decoder.width, network.device())
        };
        let own =
            network.decoder.iter().map(|_| Ok([empty()?, empty()?])).collect::<Result<_>>()?;
        Ok(Self { network, source, lengths: memory.lengths.clone(), own, beam, words: 0 })
    }

    /// How many words each hypothesis has.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.network.device()
    }

    /// How many sentences are being translated.
    pub fn sentences(&self) -> usize {
        self.lengths.len()
    }

    /// Adds a word to each hypothesis, u32 `[b·beam]`, and returns the logits of the next:
    /// `[b·beam, target vocabulary]`.
    ///
    /// # Errors
    /// Bad input when the hypotheses get too long, a tensor error when shapes or ids do not fit.
    pub fn step(&mut self, words: &Tensor) -> Result<Tensor> {
        let (b, n) = (self.sentences(), self.sentences() * self.beam);
        let mode = Mode::Evaluate;
        let mut xs = self.network.target.forward(&words.reshape((n, 1))?, self.words, mode)?;
        let width = xs.dim(2)?;
        let source_mask = Mask { key_lengths: Some(&self.lengths), causal: false };
        for ((layer, own), source) in
            self.network.decoder.iter().zip(&mut self.own).zip(&self.source)
        {
            xs = layer.own.forward(&xs, Mask::NONE, mode, |xs| {
                let KeysValues { keys, values } = layer.own.project(xs)?;
                Ok(KeysValues { keys: own[0].push(&keys)?, values: own[1].push(&values)? })
            })?;
            // The hypotheses of a sentence look at the same states, so they are queries of one row.
            let together = xs.reshape((b, self.beam, width))?;
            xs = layer
                .source
                .forward(&together, source_mask, mode, |_| Ok(source.clone()))?
                .reshape((n, 1, width))?;
            xs = layer.feed_forward.forward(&xs, mode)?;
        }
        if let Some(norm) = &self.network.decoder_norm {
            xs = norm.forward(&xs)?;
        }
        self.words += 1;
        self.network.logits(&xs.reshape((n, width))?)
    }

    /// Goes on with other hypotheses: row r becomes a copy of row `rows[r]`, and of the sentences
    /// only those in `kept` stay, in that order. `rows` has `kept.len()·beam` entries.
    ///
    /// # Errors
    /// When an index is out of range.
    pub fn select(&mut self, kept: &[usize], rows: &[u32]) -> Result<()> {
        let device = self.network.device();
        self.own.iter_mut().flatten().try_for_each(|cache| cache.select(rows, self.beam))?;
        if kept.len() < self.sentences() {
            let ids: Vec<u32> = kept.iter().map(|&i| i as u32).collect();
            let ids = Tensor::from_slice(&ids, ids.len(), device)?;
            for source in &mut self.source {
                *source = KeysValues {
                    keys: source.keys.index_select(&ids, 0)?,
                    values: source.values.index_select(&ids, 0)?,
                };
            }
            self.lengths = kept.iter().map(|&i| self.lengths[i]).collect();
        }
        Ok(())
    }
}
