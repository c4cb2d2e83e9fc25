//! What a Transformer is made of, and the students that weight distillation makes of it.

use serde::{Deserialize, Serialize};

use crate::bpe::MAX_VOCABULARY;
use kd_core::model::MAX_WEIGHTS;
use kd_core::{Error, Result};

/// One half of a Transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stack {
    /// Layers.
    pub layers: usize,
    /// Width of what passes from layer to layer.
    pub width: usize,
    /// Hidden units of a feed-forward block.
    pub feed_forward: usize,
    /// Heads of each attention; the width is a multiple.
    pub heads: usize,
}

/// Where a block's layer normalisation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// After the residual sum, as published in 2017.
    Post,
    /// Before the block, with one more at the end of each half; what deep encoders need to train at
    /// all.
    Pre,
}

/// Which tables of word vectors are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Embeddings {
    /// Three tables: source, target, and the output projection.
    Separate,
    /// The output projection is the target's table.
    TiedOutput,
    /// One table for all three; needs one vocabulary and one width.
    Shared,
}

/// A Transformer for translation. Every field is needed, and an unknown one is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TransformerSpec {
    /// Words of the source.
    pub source_vocabulary: usize,
    /// Words of the target.
    pub target_vocabulary: usize,
    /// The half that reads.
    pub encoder: Stack,
    /// The half that writes.
    pub decoder: Stack,
    /// Where normalisations stand.
    pub norm: Norm,
    /// Which tables are shared.
    pub embeddings: Embeddings,
    /// Probability with which an element of an embedding or of a block's result is dropped in
    /// training, in [0, 1).
    pub dropout: f64,
    /// The same of an attention's weights.
    pub attention_dropout: f64,
    /// The same of a feed-forward block's hidden units.
    pub relu_dropout: f64,
}

impl TransformerSpec {
    /// The student TINY of the paper: one decoder layer, at half the teacher's width, feed-forward
    /// units and at its number of heads; the encoder is the teacher's.
    pub fn tiny(&self) -> Self {
        let Stack { width, feed_forward, heads, .. } = self.decoder;
        Self {
            decoder: Stack { layers: 1, width: width / 2, feed_forward: feed_forward / 2, heads },
            ..self.clone()
        }
    }

    /// The student SMALL of the paper: two decoder layers of the teacher's width; the encoder is
    /// the teacher's.
    pub fn small(&self) -> Self {
        Self { decoder: Stack { layers: 2, ..self.decoder }, ..self.clone() }
    }

    /// How many numbers its parameters hold.
    pub fn parameters(&self) -> usize {
        let attention = |width: usize, memory: usize| {
            2 * (width * width + width) + 2 * (memory * width + width)
        };
        let feed_forward = |s: &Stack| 2 * s.width * s.feed_forward + s.feed_forward + s.width;
        let (e, d) = (&self.encoder, &self.decoder);
        let encoder = e.layers * (attention(e.width, e.width) + feed_forward(e) + 4 * e.width);
        let decoder = d.layers
            * (attention(d.width, d.width)
                + attention(d.width, e.width)
                + feed_forward(d)
                + 6 * d.width);
        let last = if self.norm == Norm::Pre { 2 * (e.width + d.width) } else { 0 };
        let (source, target) = (self.source_vocabulary * e.width, self.target_vocabulary * d.width);
        let tables = match self.embeddings {
            Embeddings::Separate => source + 2 * target,
            Embeddings::TiedOutput => source + target,
            Embeddings::Shared => source,
        };
        encoder + decoder + last + tables
    }

    /// Checks that the numbers make a network.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::bad_input(format!("network: {what}")));
        for (name, stack) in [("encoder", &self.encoder), ("decoder", &self.decoder)] {
            let Stack { layers, width, feed_forward, heads } = *stack;
            if layers == 0 || width < 2 || feed_forward == 0 || heads == 0 {
                return fault(format!(
                    "{name}: expected at least 1 layer, 2 wide, with 1 hidden unit and 1 head, got {stack:?}"
                ));
            }
            if layers.max(width).max(feed_forward) > 1 << 16 {
                return fault(format!(
                    "{name}: expected at most 65536 layers, wide and hidden units, got {stack:?}"
                ));
            }
            if width % heads != 0 || width % 2 != 0 {
                return fault(format!(
                    "expected an even {name} width that is a multiple of its heads, got {width} with {heads}"
                ));
            }
        }
        for (name, words) in
            [("source", self.source_vocabulary), ("target", self.target_vocabulary)]
        {
            if !(2..=MAX_VOCABULARY).contains(&words) {
                return fault(format!(
                    "expected a {name}-vocabulary of 2 to {MAX_VOCABULARY} words, got {words}"
                ));
            }
        }
        if self.parameters() as u64 > MAX_WEIGHTS {
            return fault(format!(
                "expected at most 2^31 parameters in all, got {}",
                self.parameters()
            ));
        }
        let one = self.source_vocabulary == self.target_vocabulary
            && self.encoder.width == self.decoder.width;
        if self.embeddings == Embeddings::Shared && !one {
            return fault(
                "shared embeddings: expected one vocabulary and one width of both halves, got two"
                    .into(),
            );
        }
        let drops = [
            ("dropout", self.dropout),
            ("attention-dropout", self.attention_dropout),
            ("relu-dropout", self.relu_dropout),
        ];
        match drops.into_iter().find(|(_, p)| !(0. ..1.).contains(p)) {
            Some((name, p)) => fault(format!("expected {name} in [0, 1), got {p}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(vocabulary: usize, width: usize, layers: usize) -> TransformerSpec {
        let stack = |layers| Stack { layers, width, feed_forward: 4 * width, heads: 8 };
        TransformerSpec {
            source_vocabulary: vocabulary,
            target_vocabulary: vocabulary,
            encoder: stack(layers),
            decoder: stack(6),
            norm: Norm::Post,
            embeddings: Embeddings::Separate,
            dropout: 0.1,
            attention_dropout: 0.1,
            relu_dropout: 0.1,
        }
    }

    #[test]
    fn sizes_that_no_memory_holds_are_refused() {
        let good = base(20_000, 512, 6);
        assert!(good.check().is_ok());
        let wide = Stack { width: usize::MAX & !7, ..good.decoder };
        let cases = [
            (
                TransformerSpec { decoder: wide, ..good.clone() },
                "at most 65536 layers, wide and hidden units",
            ),
            (base(usize::MAX, 512, 6), "vocabulary of 2 to 16777216 words"),
            (base(1 << 24, 512, 6), "at most 2^31 parameters in all"),
            (base(20_000, 512, 2000), "at most 2^31 parameters in all"),
        ];
        for (spec, part) in cases {
            let text = spec.check().expect_err(part).to_string();
            assert!(text.contains(part), "{text}");
        }
    }

    /// Totals derived from the published sizes and ratios (compression of TINY and SMALL).
    #[test]
    fn parameter_totals_are_those_of_the_published_teachers_and_students() {
        let millions = |n: usize| (n as f64 / 1e5).round() / 10.;
        let table = [
            (base(20_000, 512, 6), [74.9, 40.6, 58.0]),
            (base(34_000, 512, 6), [96.4, 54.9, 79.5]),
            (base(40_000, 512, 6), [105.6, 61.1, 88.8]),
            (base(34_000, 1024, 6), [280.8, 149.9, 213.6]),
            (base(34_000, 512, 48), [228.8, 187.3, 211.9]),
        ];
        for (teacher, expected) in table {
            let got = [&teacher, &teacher.tiny(), &teacher.small()]
                .map(|spec| millions(spec.parameters()));
            for (got, expected) in got.into_iter().zip(expected) {
                assert!(
                    (got - expected).abs() <= 0.1001,
                    "{teacher:?}: {got}, expected {expected}"
                );
            }
        }
    }
}
