//! Batches of sentence pairs of about the same length, as many as fit into a number of tokens.

use candle_core::{Device, Tensor};

use super::bpe::{BOS, EOS, PAD};
use kd_core::Seed;
use kd_core::data::DataError;

/// Sentence pairs as tokens, without beginning and end of sentence. Both lists have the same
/// length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenPairs {
    /// Sentences to translate.
    pub source: Vec<Vec<u32>>,
    /// Their translations.
    pub target: Vec<Vec<u32>>,
}

impl TokenPairs {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize {
    /// The most tokens, padding included: number of pairs times the longest sentence of either
    /// side, its end of sentence included. This is how fairseq counts `--max-tokens`.
    pub tokens: usize,
    /// The most pairs, if that is limited too.
    pub pairs: Option<usize>,
}

/// One step's worth of pairs. Sentences are padded behind their end with [`PAD`].
#[derive(Clone, Debug)]
pub struct TokenBatch {
    /// Sentences to translate, each ending in [`EOS`]: `u32 [pairs, longest source]`.
    pub source: Tensor,
    /// Their lengths, [`EOS`] included.
    pub source_lengths: Vec<usize>,
    /// What a decoder reads, each sentence beginning with [`BOS`]: `u32 [pairs, longest target]`.
    /// (fairseq begins with the end of sentence instead; the two differ in which embedding is
    /// trained.)
    pub target_in: Tensor,
    /// What it should predict, `target_in` shifted by one, each sentence ending in [`EOS`]: `u32
    /// [pairs, longest target]`. On the CPU, wherever the others are: losses read it on the host to
    /// leave padding out, and reading an accelerator waits for all that it has to do.
    pub target_out: Tensor,
    /// Lengths of the targets, [`EOS`] included.
    pub target_lengths: Vec<usize>,
    /// Tokens to predict, padding not included: what a loss summed over the batch is divided by.
    pub target_tokens: usize,
}

/// Makes batches of a set of pairs.
///
/// ```
/// use candle_core::Device;
/// use kd_core::Seed;
/// use kd_translation::token_batches::{BatchSize, TokenBatches, TokenPairs};
/// let pairs = TokenPairs { source: vec![vec![5, 6], vec![7]], target: vec![vec![8], vec![9, 10]] };
/// let batches = TokenBatches::new(pairs, BatchSize { tokens: 6, pairs: None })?;
/// let plan = batches.shuffled(Seed(1), 0);
/// let batch = batches.batch(&plan[0], &Device::Cpu)?;
/// assert_eq!(batch.source.dims(), [2, 3]);
/// assert_eq!(batch.target_tokens, 5);
/// # Ok::<(), kd_core::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenBatches {
    pairs: TokenPairs,
    size: BatchSize,
}

impl TokenBatches {
    /// Batches of `pairs` of at most `size`.
    ///
    /// # Errors
    /// [`DataError::Argument`] where a pair alone is more than `size`, or `size` admits no pairs:
    /// clean the text first, or ask for larger batches. [`DataError::Length`] where the sides
    /// differ in length.
    pub fn new(pairs: TokenPairs, size: BatchSize) -> Result<Self, DataError> {
        if pairs.source.len() != pairs.target.len() {
            let (expected, got) = (pairs.source.len(), pairs.target.len());
            return Err(DataError::Length { what: "target sentences", expected, got });
        }
        let batches = Self { pairs, size };
        if size.pairs == Some(0) {
            return Err(DataError::Argument {
                what: "pairs of a batch",
                expected: "at least 1".to_string(),
                got: "0".to_string(),
            });
        }
        let longest = (0..batches.len() as u32)
            .map(|row| (batches.longer(row), row))
            .max_by_key(|&(n, row)| (n, std::cmp::Reverse(row)));
        match longest {
            Some((n, row)) if n > size.tokens => {
                let expected =
                    format!("at least {n}, the tokens of pair {row} with its end of sentence");
                Err(DataError::Argument {
                    what: "tokens of a batch",
                    expected,
                    got: size.tokens.to_string(),
                })
            }
            _ => Ok(batches),
        }
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs.
    pub fn pairs(&self) -> &TokenPairs {
        &self.pairs
    }

    /// The rows of an epoch's batches in the epoch's order: a pure function of the pairs, `seed`
    /// and `epoch`. Each row is in one batch.
    ///
    /// Rows are sorted by the lengths of source and target, rows of the same lengths in an order
    /// drawn anew for each epoch, and cut into batches as full as can be; then the batches are
    /// shuffled.
    pub fn shuffled(&self, seed: Seed, epoch: usize) -> Vec<Vec<u32>> {
        let keys = seed.stream("token_batches.rows", epoch, 0);
        let mut batches = self.cut(|row| u64::from(keys.u32_at(u64::from(row))));
        let order = seed.stream("token_batches.order", epoch, 0).permutation(batches.len());
        order.into_iter().map(|i| std::mem::take(&mut batches[i])).collect()
    }

    /// The rows of batches from short to long sentences, rows of the same lengths in ascending
    /// order: for evaluation, where no draw belongs.
    pub fn in_order(&self) -> Vec<Vec<u32>> {
        self.cut(u64::from)
    }

    /// The pairs at `rows`, in that order.
    ///
    /// # Errors
    /// [`DataError::Argument`] for no rows; [`DataError::Row`] for a row that is not there;
    /// [`DataError::Tensor`] where a tensor cannot be made.
    pub fn batch(&self, rows: &[u32], device: &Device) -> Result<TokenBatch, DataError> {
        if rows.is_empty() {
            return Err(DataError::Argument {
                what: "rows of a batch",
                expected: "at least 1".to_string(),
                got: "0".to_string(),
            });
        }
        let len = self.len();
        if let Some(&row) = rows.iter().find(|&&row| row as usize >= len) {
            return Err(DataError::Row { row: row as usize, len });
        }
        let side = |sentences: &[Vec<u32>]| -> Vec<usize> {
            rows.iter().map(|&row| sentences[row as usize].len() + 1).collect()
        };
        let (source_lengths, target_lengths) = (side(&self.pairs.source), side(&self.pairs.target));
        let tensor = |sentences: &[Vec<u32>],
                      lengths: &[usize],
                      [begin, end]: [Option<u32>; 2],
                      on: &Device| {
            let width = lengths.iter().copied().max().unwrap_or(0);
            let mut ids = vec![PAD; rows.len() * width];
            for (out, &row) in ids.chunks_exact_mut(width).zip(rows) {
                let sentence = begin.iter().chain(&sentences[row as usize]).chain(&end);
                out.iter_mut().zip(sentence).for_each(|(out, &id)| *out = id);
            }
            Tensor::from_vec(ids, (rows.len(), width), on)
        };
        Ok(TokenBatch {
            source: tensor(&self.pairs.source, &source_lengths, [None, Some(EOS)], device)?,
            target_in: tensor(&self.pairs.target, &target_lengths, [Some(BOS), None], device)?,
            target_out: tensor(
                &self.pairs.target,
                &target_lengths,
                [None, Some(EOS)],
                &Device::Cpu,
            )?,
            target_tokens: target_lengths.iter().sum(),
            source_lengths,
            target_lengths,
        })
    }

    /// Lengths of both sides of a row, without the end of sentence.
    fn lengths(&self, row: u32) -> (usize, usize) {
        (self.pairs.source[row as usize].len(), self.pairs.target[row as usize].len())
    }

    /// Length of the longer side with its end of sentence.
    fn longer(&self, row: u32) -> usize {
        let (source, target) = self.lengths(row);
        source.max(target) + 1
    }

    /// All rows, sorted by their lengths and then by `key`, cut into batches.
    fn cut(&self, key: impl Fn(u32) -> u64) -> Vec<Vec<u32>> {
        let mut rows: Vec<u32> = (0..self.len() as u32).collect();
        rows.sort_by_cached_key(|&row| (self.lengths(row), key(row), row));
        let mut batches: Vec<Vec<u32>> = Vec::new();
        let (mut batch, mut width) = (Vec::new(), 0);
        for row in rows {
            let wider = self.longer(row).max(width);
            let full = (batch.len() + 1) * wider > self.size.tokens
                || self.size.pairs.is_some_and(|most| batch.len() >= most);
            if full && !batch.is_empty() {
                batches.push(std::mem::take(&mut batch));
                width = self.longer(row);
            } else {
                width = wider;
            }
            batch.push(row);
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        batches
    }
}
