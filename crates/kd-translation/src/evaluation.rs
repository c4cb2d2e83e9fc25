//! How good translations are, and how fast they come.

use std::time::Instant;

use super::search::{Search, translate};
use crate::bitext::sentence;
use crate::bleu::{multi_bleu, sacrebleu, tokenize_13a};
use crate::bpe::Vocabularies;
use crate::transformer::Transformer;
use kd_core::Result;

/// A translated text.
#[derive(Clone, Debug)]
pub struct Translated {
    /// The translations, in the order of the sentences.
    pub lines: Vec<String>,
    /// BLEU as sacrebleu counts it: 13a tokens, case-sensitive, smoothed exponentially.
    pub bleu: f64,
    /// BLEU as multi-bleu.perl -lc counts it on the same tokens: lower-cased, not smoothed.
    pub tokenized_bleu: f64,
    /// Words (vocabulary units) written, ends of sentence included.
    pub words: usize,
    /// Time the search took, without encoding and decoding of text.
    pub seconds: f64,
}

/// Translates sentences, each read as [`sentence()`] reads it, and scores them; `references[i]` are
/// those of sentence i, one or more.
///
/// # Errors
/// As [`translate`], and where there is not a list of references for each sentence.
pub fn evaluate(
    network: &Transformer,
    vocabularies: &Vocabularies,
    sentences: &[String],
    references: &[Vec<&str>],
    search: &Search,
    done: &mut dyn FnMut(usize),
) -> Result<Translated> {
    let sources: Vec<Vec<u32>> =
        sentences.iter().map(|line| vocabularies.source.encode(&sentence(line))).collect();
    let started = Instant::now();
    let found = translate(network, &sources, search, done)?;
    let seconds = started.elapsed().as_secs_f64();
    let lines: Vec<String> = found.iter().map(|h| vocabularies.target.decode(&h.words)).collect();
    let words = found.iter().map(|h| h.words.len() + 1).sum();
    let bleu = sacrebleu(&lines, references)?.score;
    let tokens = |line: &str| tokenize_13a(line);
    let tokenized: Vec<Vec<String>> =
        references.iter().map(|all| all.iter().map(|line| tokens(line)).collect()).collect();
    let hypotheses: Vec<String> = lines.iter().map(|line| tokens(line)).collect();
    let tokenized_bleu = multi_bleu(&hypotheses, &tokenized, true)?.score;
    Ok(Translated { lines, bleu, tokenized_bleu, words, seconds })
}
