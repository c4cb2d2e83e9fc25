//! Beam search.

use candle_core::{CpuStorage, Device, Storage, Tensor};
use kd_kernels::softmax::log_sum_exp;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bpe::{BOS, EOS, PAD};
use crate::token_batches::{BatchSize, TokenBatches, TokenPairs};
use crate::transformer::{Decoding, MAX_POSITIONS, Transformer};
use kd_core::model::{MAX_WEIGHTS, Mode};
use kd_core::{Error, Result};

/// The most sentences that are translated together.
const MAX_BATCH: usize = 1 << 16;

/// How translations are searched for, as an experiment file writes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Search {
    /// Hypotheses kept for each sentence; 1 takes the best word each time.
    pub beam: usize,
    /// α: a finished hypothesis of n words (its end of sentence included) scores ln p / n^α.
    pub length_penalty: f64,
    /// The longest translation has `length-factor`·(words of the source) + `length-extra` words.
    pub length_factor: f64,
    /// Words that a translation may have beyond `length-factor` times its source.
    pub length_extra: usize,
    /// Sentences that are translated together.
    pub batch: usize,
}

impl Search {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::bad_input(format!("search: {what}")));
        Error::unless_within("search.beam", self.beam, 1..=1000)?;
        Error::unless_within("search.batch", self.batch, 1..=MAX_BATCH)?;
        Error::unless_within("search.length-extra", self.length_extra, 0..=MAX_POSITIONS)?;
        if !(self.length_penalty.is_finite() && self.length_penalty >= 0.) {
            return fault(format!(
                "expected a length-penalty of at least 0, got {}",
                self.length_penalty
            ));
        }
        if !(self.length_factor.is_finite() && self.length_factor >= 0.) {
            return fault(format!(
                "expected a length-factor of at least 0, got {}",
                self.length_factor
            ));
        }
        Ok(())
    }

    /// Fails where the logits of one step, one for each hypothesis and word, would be more numbers
    /// than a network may have.
    fn check_memory(&self, sentences: usize, vocabulary: usize) -> Result<()> {
        let rows = self.batch.min(sentences) as u64 * self.beam as u64;
        let logits = rows.saturating_mul(vocabulary as u64);
        if logits > MAX_WEIGHTS {
            return Err(Error::bad_input(format!(
                "search: expected at most 2^31 logits of beam x batch x target vocabulary, got {} x {} x {vocabulary}",
                self.beam,
                self.batch.min(sentences)
            )));
        }
        Ok(())
    }

    /// The longest translation of so many source words, its end of sentence not counted.
    fn longest(&self, source: usize) -> usize {
        let words =
            ((self.length_factor * source as f64) as usize).saturating_add(self.length_extra);
        words.clamp(1, MAX_POSITIONS - 1)
    }
}

/// A finished translation.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Its words, without the end of sentence.
    pub words: Vec<u32>,
    /// ln p / n^α.
    pub score: f64,
}

/// Translates sentences given as ids, without end of sentence, and returns the best hypothesis of
/// each, in their order. `done` is told after each batch how many are finished.
///
/// Sentences of about the same length are translated together; which stand together does not change
/// what comes out, but for rounding. A sentence is finished when `beam` of its hypotheses have
/// ended, or at its longest; hypotheses of equal score are taken in the order of beam and word id.
/// A sentence without words has a translation without words, of score 0: ln 1.
///
/// # Errors
/// Bad input when a sentence is too long for the network or the search makes no sense.
pub fn translate(
    network: &Transformer,
    sources: &[Vec<u32>],
    search: &Search,
    done: &mut dyn FnMut(usize),
) -> Result<Vec<Hypothesis>> {
    search.check()?;
    let full: Vec<usize> = (0..sources.len()).filter(|&i| !sources[i].is_empty()).collect();
    search.check_memory(full.len(), network.spec().target_vocabulary)?;
    let pairs = TokenPairs {
        source: full.iter().map(|&i| sources[i].clone()).collect(),
        target: vec![Vec::new(); full.len()],
    };
    let batches =
        TokenBatches::new(pairs, BatchSize { tokens: usize::MAX / 2, pairs: Some(search.batch) })?;
    // A network that trains would record a graph of each word.
    let network = &network.detached();
    let mut best = vec![Hypothesis { words: Vec::new(), score: 0. }; sources.len()];
    let mut finished = sources.len() - full.len();
    for rows in batches.in_order() {
        let batch = batches.batch(&rows, network.device())?;
        let memory = network.encode(&batch.source, &batch.source_lengths, Mode::Evaluate)?;
        let rows: Vec<usize> = rows.into_iter().map(|row| full[row as usize]).collect();
        let longest = rows.iter().map(|&i| search.longest(sources[i].len())).collect();
        let hypotheses =
            Beams::new(longest, search).run(Decoding::new(network, &memory, search.beam)?)?;
        finished += rows.len();
        for (i, hypothesis) in rows.into_iter().zip(hypotheses) {
            best[i] = hypothesis;
        }
        done(finished);
    }
    Ok(best)
}

/// A hypothesis that grows; one of probability 0 only holds a place.
#[derive(Clone)]
struct OpenHypothesis {
    words: Vec<u32>,
    log_probability: f64,
}

/// A word that could follow a hypothesis.
#[derive(Clone, Copy)]
struct Candidate {
    row: usize,
    word: u32,
    log_probability: f64,
}

struct Beams<'a> {
    search: &'a Search,
    longest: Vec<usize>,
    /// Sentences that are not finished, in the order of the decoder's rows, with their hypotheses.
    open: Vec<(usize, Vec<OpenHypothesis>)>,
    ended: Vec<Vec<Hypothesis>>,
}

impl<'a> Beams<'a> {
    fn new(longest: Vec<usize>, search: &'a Search) -> Self {
        // All hypotheses would begin alike, so one speaks for all.
        let alive = |place: usize| if place == 0 { 0. } else { f64::NEG_INFINITY };
        let start: Vec<OpenHypothesis> = (0..search.beam)
            .map(|place| OpenHypothesis { words: Vec::new(), log_probability: alive(place) })
            .collect();
        let open = (0..longest.len()).map(|i| (i, start.clone())).collect();
        Self { search, ended: vec![Vec::new(); longest.len()], longest, open }
    }

    fn run(mut self, mut decoding: Decoding) -> Result<Vec<Hypothesis>> {
        while !self.open.is_empty() {
            let last: Vec<u32> = self
                .open
                .iter()
                .flat_map(|(_, beam)| beam.iter().map(|h| h.words.last().copied().unwrap_or(BOS)))
                .collect();
            let n = last.len();
            let logits = decoding.step(&Tensor::from_vec(last, n, decoding.device())?)?;
            let log_sums = log_sum_exp(&logits)?.to_vec1::<f32>()?;
            let grown = self.grown(&logits.to_device(&Device::Cpu)?, &log_sums)?;
            let beam = self.search.beam;
            let (mut kept, mut rows, mut open) = (Vec::new(), Vec::new(), Vec::new());
            for (place, ((sentence, hypotheses), grown)) in
                std::mem::take(&mut self.open).into_iter().zip(grown).enumerate()
            {
                let longest = self.longest[sentence];
                if let Some((next, parents)) = self.advance(sentence, &hypotheses, &grown, longest)
                {
                    kept.push(place);
                    rows.extend(parents.into_iter().map(|parent| (place * beam + parent) as u32));
                    open.push((sentence, next));
                }
            }
            self.open = open;
            if !self.open.is_empty() {
                decoding.select(&kept, &rows)?;
            }
        }
        let best = |ended: Vec<Hypothesis>| {
            // The first of equals.
            ended
                .into_iter()
                .reduce(|best, other| if other.score > best.score { other } else { best })
        };
        let missing = || Error::bad_input("search: expected a beam of at least 1, got 0");
        self.ended.into_iter().map(|ended| best(ended).ok_or_else(missing)).collect()
    }

    /// The best continuations of each sentence, by logits on the host and what their
    /// log-probabilities are less by.
    fn grown(&self, logits: &Tensor, log_sums: &[f32]) -> Result<Vec<Vec<Candidate>>> {
        let (beam, vocabulary) = (self.search.beam, logits.dim(1)?);
        let (storage, layout) = logits.storage_and_layout();
        let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
            (&*storage, layout.contiguous_offsets())
        else {
            return Err(Error::bad_input(format!(
                "search: expected logits as f32 in order, got {:?}",
                logits.dtype()
            )));
        };
        let sentences = self
            .open
            .par_iter()
            .zip(values[start..end].par_chunks(beam * vocabulary))
            .zip(log_sums.par_chunks(beam));
        sentences
            .map(|(((_, open), logits), log_sums)| candidates(open, logits, log_sums, 2 * beam))
            .collect()
    }

    /// The next hypotheses of a sentence with the places they come from, or `None` when it is
    /// finished.
    fn advance(
        &mut self,
        sentence: usize,
        open: &[OpenHypothesis],
        grown: &[Candidate],
        longest: usize,
    ) -> Option<(Vec<OpenHypothesis>, Vec<usize>)> {
        let (beam, words) = (self.search.beam, open[0].words.len());
        let ended = &mut self.ended[sentence];
        let score = |log_probability: f64, n: usize| {
            log_probability / (n as f64).powf(self.search.length_penalty)
        };
        let (mut next, mut parents) = (Vec::with_capacity(beam), Vec::with_capacity(beam));
        for (rank, c) in grown.iter().enumerate() {
            if c.word == EOS {
                // An end counts only among the best: others would crowd out hypotheses that are
                // likelier so far.
                if rank < beam && ended.len() < beam {
                    ended.push(Hypothesis {
                        words: open[c.row].words.clone(),
                        score: score(c.log_probability, words + 1),
                    });
                }
            } else if next.len() < beam {
                let mut all = open[c.row].words.clone();
                all.push(c.word);
                next.push(OpenHypothesis { words: all, log_probability: c.log_probability });
                parents.push(c.row);
            }
        }
        if words + 1 > longest || next.is_empty() {
            // Cut off: what is open ends here as it is, if nothing has ended by itself.
            if ended.is_empty() {
                ended.extend(open.iter().map(|h| Hypothesis {
                    words: h.words.clone(),
                    score: score(h.log_probability, words.max(1)),
                }));
            }
            return None;
        }
        if ended.len() >= beam {
            return None;
        }
        // A vocabulary smaller than the beam leaves places free: hypotheses of probability 0, which
        // nothing follows, fill them.
        while next.len() < beam {
            next.push(OpenHypothesis { log_probability: f64::NEG_INFINITY, ..next[0].clone() });
            parents.push(parents[0]);
        }
        Some((next, parents))
    }
}

/// The `most` best continuations, best first; of equals the one of the earlier row and the smaller
/// word. Padding and the start symbol never follow, nor does what has probability 0. `logits` has a
/// row for each hypothesis, `log_sums` what makes log-probabilities of them.
fn candidates(
    open: &[OpenHypothesis],
    logits: &[f32],
    log_sums: &[f32],
    most: usize,
) -> Result<Vec<Candidate>> {
    let mut best: Vec<Candidate> = Vec::with_capacity(most + 1);
    let rows =
        open.iter().zip(logits.chunks_exact(logits.len() / open.len())).zip(log_sums).enumerate();
    for (row, ((hypothesis, logits), &log_sum)) in
        rows.filter(|(_, ((h, _), _))| h.log_probability > f64::NEG_INFINITY)
    {
        // One logit that is not a number, or infinite, makes the sum so.
        if !log_sum.is_finite() {
            return Err(Error::bad_input(format!(
                "search: expected finite logits from the network, got some whose log-sum-exp is {log_sum}"
            )));
        }
        let before = hypothesis.log_probability - f64::from(log_sum);
        for (block, logits) in logits.chunks(BLOCK).enumerate() {
            // Most blocks hold nothing that could be among the best, which is seen without looking
            // at each word.
            let bar = match best.last() {
                Some(worst) if best.len() == most => below(worst.log_probability - before),
                _ => f32::NEG_INFINITY,
            };
            if logits.iter().fold(true, |all, &z| all & (z < bar)) {
                continue;
            }
            for (at, &z) in logits.iter().enumerate() {
                let (word, log_probability) = ((block * BLOCK + at) as u32, before + f64::from(z));
                let worse = best.len() == most
                    && best.last().is_some_and(|worst| log_probability <= worst.log_probability);
                if worse || word == PAD || word == BOS || log_probability == f64::NEG_INFINITY {
                    continue;
                }
                let at = best.partition_point(|c| c.log_probability >= log_probability);
                best.insert(at, Candidate { row, word, log_probability });
                best.truncate(most);
            }
        }
    }
    Ok(best)
}

/// Words that are looked at together.
const BLOCK: usize = 32;

/// A number a little below `x`, so that what is below it is below `x`, whatever the rounding.
fn below(x: f64) -> f32 {
    (x - 1e-6 * x.abs() - f64::from(f32::MIN_POSITIVE)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_that_no_memory_holds_are_refused() {
        let search =
            Search { beam: 4, length_penalty: 1., length_factor: 2., length_extra: 20, batch: 64 };
        assert!(search.check().is_ok());
        let most = usize::MAX;
        for (search, field) in [
            (Search { beam: most, ..search }, "search.beam"),
            (Search { batch: most, ..search }, "search.batch"),
            (Search { length_extra: most, ..search }, "search.length-extra"),
        ] {
            let text = search.check().expect_err(field).to_string();
            assert!(text.starts_with(field), "{text}");
        }
        let widest = Search { beam: 1000, batch: MAX_BATCH, ..search };
        assert!(widest.check_memory(1, 40_000).is_ok(), "one sentence is few hypotheses");
        let text = widest.check_memory(usize::MAX, 40_000).expect_err("10^12 logits").to_string();
        assert!(text.ends_with("got 1000 x 65536 x 40000"), "{text}");
    }
}
