//! BLEU and the counts that it is computed from.

use std::collections::HashMap;
use std::fmt;
use std::ops::AddAssign;

/// The longest n-grams counted.
pub const ORDER: usize = 4;

/// Counts over one or more segments. Those of a corpus are the sums of its segments'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// For n of 1 to 4, the hypotheses' n-grams that are in a reference, each counted at most as
    /// often as in the reference that has it most often.
    pub matches: [u64; ORDER],
    /// For n of 1 to 4, the hypotheses' n-grams.
    pub ngrams: [u64; ORDER],
    /// Tokens of the hypotheses.
    pub hypothesis_length: u64,
    /// Tokens of the references: of each segment, the length that is closest to its hypothesis's,
    /// the shorter of two equally close ones.
    pub reference_length: u64,
}

/// What becomes of a precision without a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smoothing {
    /// It is 0, and so is the score.
    None,
    /// The k-th of them, from 1-grams up, is that of 2⁻ᵏ matches (Chen and Cherry 2014, method 3).
    /// A corpus without any match scores 0 nonetheless.
    Exp,
}

/// A corpus's score with what it is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bleu {
    /// BLEU, from 0 to 100.
    pub score: f64,
    /// Precisions of 1-grams to 4-grams in percent, smoothed if the score is.
    pub precisions: [f64; ORDER],
    /// What short translations lose: a factor of at most 1.
    pub brevity_penalty: f64,
    /// The counts.
    pub statistics: Statistics,
}

impl fmt::Display for Bleu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p1, p2, p3, p4] = self.precisions;
        let (hypothesis, reference) =
            (self.statistics.hypothesis_length, self.statistics.reference_length);
        write!(
            f,
            "{:.2} ({p1:.1}/{p2:.1}/{p3:.1}/{p4:.1}, brevity penalty {:.3}, ",
            self.score, self.brevity_penalty
        )?;
        write!(f, "{hypothesis} tokens for {reference})")
    }
}

impl Statistics {
    /// The statistics of one segment, its hypothesis and references given as tokens. Without
    /// references nothing matches.
    pub fn of(hypothesis: &[&str], references: &[Vec<&str>]) -> Self {
        let length = hypothesis.len();
        let closest = references.iter().map(Vec::len).min_by_key(|&n| (n.abs_diff(length), n));
        let mut statistics = Self {
            hypothesis_length: length as u64,
            reference_length: closest.unwrap_or(0) as u64,
            ..Self::default()
        };
        for n in 1..=ORDER {
            let mut most: HashMap<&[&str], u64> = HashMap::new();
            for reference in references {
                for (ngram, count) in count(reference, n) {
                    let most = most.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in count(hypothesis, n) {
                statistics.matches[n - 1] += count.min(most.get(ngram).copied().unwrap_or(0));
                statistics.ngrams[n - 1] += count;
            }
        }
        statistics
    }

    /// The score: brevity penalty × geometric mean of the four precisions × 100, with a penalty of
    /// exp(1 − r/h) for h tokens of hypotheses that are fewer than r, those of references. 0
    /// where there are no 4-grams at all.
    pub fn bleu(&self, smoothing: Smoothing) -> Bleu {
        let (hypothesis, reference) = (self.hypothesis_length as f64, self.reference_length as f64);
        let brevity_penalty = match self.hypothesis_length {
            0 if self.reference_length > 0 => 0.0,
            _ if hypothesis < reference => (1.0 - reference / hypothesis).exp(),
            _ => 1.0,
        };
        let mut precisions = [0.0; ORDER];
        if self.matches.iter().any(|&n| n > 0) {
            let mut share = 1.0;
            for ((precision, &matches), &ngrams) in
                precisions.iter_mut().zip(&self.matches).zip(&self.ngrams)
            {
                *precision = match (matches, smoothing) {
                    _ if ngrams == 0 => 0.0,
                    (0, Smoothing::None) => 0.0,
                    (0, Smoothing::Exp) => {
                        share /= 2.0;
                        100.0 * share / ngrams as f64
                    }
                    (matches, _) => 100.0 * matches as f64 / ngrams as f64,
                };
            }
        }
        let score = if precisions.iter().all(|&p| p > 0.0) {
            brevity_penalty * (precisions.iter().map(|p| p.ln()).sum::<f64>() / ORDER as f64).exp()
        } else {
            0.0
        };
        Bleu { score, precisions, brevity_penalty, statistics: *self }
    }
}

impl AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.matches.iter_mut().zip(other.matches).for_each(|(a, b)| *a += b);
        self.ngrams.iter_mut().zip(other.ngrams).for_each(|(a, b)| *a += b);
        self.hypothesis_length += other.hypothesis_length;
        self.reference_length += other.reference_length;
    }
}

/// How often each n-gram occurs.
fn count<'a, 'b>(tokens: &'b [&'a str], n: usize) -> HashMap<&'b [&'a str], u64> {
    let mut counts = HashMap::new();
    for ngram in tokens.windows(n) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}
