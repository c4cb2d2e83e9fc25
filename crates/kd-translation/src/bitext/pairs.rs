//! Sentences beside their translations.

use sha2::{Digest, Sha256};

use super::sentence::tidy;

/// Sentences and their translations: `target[i]` is `source[i]` in the other language. Both lists
/// have the same length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitext {
    /// Sentences to translate.
    pub source: Vec<String>,
    /// Their translations.
    pub target: Vec<String>,
}

impl Bitext {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// Appends a pair.
    pub fn push(&mut self, source: String, target: String) {
        self.source.push(source);
        self.target.push(target);
    }

    /// The pairs in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.source.iter().map(String::as_str).zip(self.target.iter().map(String::as_str))
    }

    /// At most `limit` pairs in their order, as evenly spaced as can be: corpora are chains of
    /// parts, whose first would otherwise be all.
    pub fn evenly_spaced(self, limit: usize) -> Self {
        let total = self.len() as u64;
        let pairs = self.source.into_iter().zip(self.target).enumerate();
        pairs
            .filter(|&(i, _)| is_spread(i as u64, total, limit as u64))
            .map(|(_, pair)| pair)
            .collect()
    }

    /// Puts [`sentence`](super::sentence()) of each line in its place.
    fn tidy(&mut self) {
        self.source.iter_mut().chain(&mut self.target).for_each(tidy);
    }

    fn digest(&self, hash: &mut Sha256) {
        hash.update((self.len() as u64).to_le_bytes());
        self.source.iter().zip(&self.target).for_each(|(s, t)| {
            update(hash, s);
            update(hash, t);
        });
    }
}

impl FromIterator<(String, String)> for Bitext {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let (source, target) = pairs.into_iter().unzip();
        Self { source, target }
    }
}

/// Hashes a string with its length, so that no two lists of strings are the same bytes.
fn update(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

/// Whether item `i` of `total` is among `limit` evenly spaced ones: those at which ⌊i·limit/total⌋
/// is about to change.
pub(crate) fn is_spread(i: u64, total: u64, limit: u64) -> bool {
    let share = |i: u64| u128::from(i) * u128::from(limit) / u128::from(total.max(1));
    limit >= total || share(i.saturating_add(1)) > share(i)
}

/// Parallel text in three parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitextSplits {
    /// To train on, and the only part that vocabularies may see. May hold empty sentences, which
    /// [`LengthLimits::clean`](super::LengthLimits::clean) leaves out.
    pub train: Bitext,
    /// For choices that must not be made on the test set. No empty sentences.
    pub validation: Bitext,
    /// To score on. No empty sentences.
    pub test: Bitext,
    /// Further reference translations of the test set, each list as long as the set; none in most
    /// corpora.
    pub more_references: Vec<Vec<String>>,
}

impl BitextSplits {
    /// The first 16 hexadecimal digits of a SHA-256 over all parts (numbers and lengths included;
    /// training, validation, test, further references): two corpora with the same hash are the
    /// same text in the same direction, wherever they came from.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        [&self.train, &self.validation, &self.test]
            .into_iter()
            .for_each(|part| part.digest(&mut hash));
        for references in &self.more_references {
            hash.update((references.len() as u64).to_le_bytes());
            references.iter().for_each(|r| update(&mut hash, r));
        }
        kd_base::hex(&hash.finalize()[..8])
    }

    /// The same with [`sentence`](super::sentence()) of each line in its place.
    #[must_use]
    pub fn tidied(mut self) -> Self {
        [&mut self.train, &mut self.validation, &mut self.test].into_iter().for_each(Bitext::tidy);
        self.more_references.iter_mut().flatten().for_each(tidy);
        self
    }

    /// All references of each test sentence, as [`crate::bleu`] takes them.
    pub fn test_references(&self) -> Vec<Vec<&str>> {
        let more = |i: usize| {
            self.more_references.iter().filter_map(move |list| list.get(i)).map(String::as_str)
        };
        self.test
            .target
            .iter()
            .enumerate()
            .map(|(i, first)| std::iter::once(first.as_str()).chain(more(i)).collect())
            .collect()
    }
}
