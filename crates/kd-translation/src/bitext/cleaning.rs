//! Training pairs that are left out: empty, long or lopsided ones.

use std::fmt;

use serde::Serialize;

use super::pairs::Bitext;
use kd_core::data::DataError;

/// Which training pairs to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LengthLimits {
    /// The most tokens of either side; the fewest is 1.
    pub max_tokens: usize,
    /// The largest ratio of the longer side's number of tokens to the shorter side's.
    pub max_ratio: f64,
}

impl LengthLimits {
    /// Pairs of 1 to `max_tokens` tokens a side, of which one has at most `max_ratio` times as many
    /// as the other.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless `max_tokens` and `max_ratio` are at least 1.
    pub fn new(max_tokens: usize, max_ratio: f64) -> Result<Self, DataError> {
        let wrong =
            |what, got| Err(DataError::Argument { what, expected: "at least 1".to_string(), got });
        if max_tokens == 0 {
            return wrong("most tokens of a sentence", max_tokens.to_string());
        }
        if max_ratio.is_nan() || max_ratio < 1.0 {
            return wrong("largest ratio of lengths", max_ratio.to_string());
        }
        Ok(Self { max_tokens, max_ratio })
    }

    /// What becomes of a pair with these numbers of tokens.
    pub fn judge(&self, source: usize, target: usize) -> Verdict {
        let (short, long) = (source.min(target), source.max(target));
        match () {
            () if short == 0 => Verdict::Empty,
            () if long > self.max_tokens => Verdict::TooLong,
            () if long as f64 > self.max_ratio * short as f64 => Verdict::Ratio,
            () => Verdict::Kept,
        }
    }

    /// The pairs that are kept, in their order, and how many were not and why. `source_tokens` and
    /// `target_tokens` count a sentence's tokens, such as [`words`] or a vocabulary's. For
    /// training sets only: a test set is scored whole.
    pub fn clean(
        &self,
        bitext: Bitext,
        source_tokens: impl Fn(&str) -> usize,
        target_tokens: impl Fn(&str) -> usize,
    ) -> (Bitext, Cleaning) {
        let mut cleaning = Cleaning::default();
        let pairs = bitext.source.into_iter().zip(bitext.target);
        let kept = pairs
            .filter(|(source, target)| {
                cleaning.count(self.judge(source_tokens(source), target_tokens(target)))
            })
            .collect();
        (kept, cleaning)
    }
}

/// Number of words: runs without white space.
pub fn words(sentence: &str) -> usize {
    sentence.split_whitespace().count()
}

/// What becomes of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is trained on.
    Kept,
    /// A side has no tokens.
    Empty,
    /// A side has too many.
    TooLong,
    /// One side has too many times as many as the other.
    Ratio,
}

/// How many pairs were kept and how many left out, each for the first reason in the order of the
/// fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleaning {
    /// Pairs looked at.
    pub pairs_in: usize,
    /// Left out because a side was empty.
    pub empty: usize,
    /// Left out because a side was too long.
    pub too_long: usize,
    /// Left out because of the ratio of the sides' lengths.
    pub ratio: usize,
    /// Kept.
    pub kept: usize,
}

impl Cleaning {
    /// Counts one verdict; true where the pair is kept.
    pub fn count(&mut self, verdict: Verdict) -> bool {
        self.pairs_in += 1;
        let field = match verdict {
            Verdict::Kept => &mut self.kept,
            Verdict::Empty => &mut self.empty,
            Verdict::TooLong => &mut self.too_long,
            Verdict::Ratio => &mut self.ratio,
        };
        *field += 1;
        verdict == Verdict::Kept
    }
}

impl fmt::Display for Cleaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs_in, empty, too_long, ratio, kept } = self;
        write!(
            f,
            "kept {kept} of {pairs_in} pairs; left out {empty} empty, {too_long} too long, {ratio} by their ratio of lengths"
        )
    }
}
