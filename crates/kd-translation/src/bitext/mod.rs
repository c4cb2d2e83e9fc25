//! Parallel text: sentences in one language beside their translations.
//!
//! One file for each form it comes in: [`directory`] (plain text, gzipped text or JSON lines), [`hub`] (Multi30k and two WMT tasks),
//! [`translations`] (the hub's tables, streamed) and [`toy`] (a generated pair of languages). [`load`] chooses between them. [`cleaning`]
//! leaves out what is not worth training on, and counts it.

pub mod cleaning;
pub mod directory;
pub mod hub;
pub mod jsonl;
mod lines;
pub mod source;
pub mod toy;
mod toy_words;
pub mod translations;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

pub use cleaning::{Cleaning, LengthLimits};
pub use hub::Corpus;
pub use source::{Request, Source, load};
pub use toy::Toy;
pub use translations::Translations;

use kd_core::data::DataError;

/// The longest line accepted from a file, in bytes; longer ones are taken for another kind of file.
pub const MAX_LINE: usize = 1 << 20;

/// Sentences and their translations: `target[i]` is `source[i]` in the other language. Both lists have the same length.
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

    /// At most `limit` pairs in their order, as evenly spaced as can be: corpora are chains of parts, whose first would otherwise be all.
    pub fn spread(self, limit: usize) -> Self {
        let total = self.len() as u64;
        let pairs = self.source.into_iter().zip(self.target).enumerate();
        pairs.filter(|&(i, _)| is_spread(i as u64, total, limit as u64)).map(|(_, pair)| pair).collect()
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

/// Whether item `i` of `total` is among `limit` evenly spaced ones: those at which ⌊i·limit/total⌋ is about to change.
pub(crate) fn is_spread(i: u64, total: u64, limit: u64) -> bool {
    let share = |i: u64| u128::from(i) * u128::from(limit) / u128::from(total.max(1));
    limit >= total || share(i.saturating_add(1)) > share(i)
}

/// Parallel text in three parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitextSplits {
    /// To train on, and the only part that vocabularies may see. May hold empty sentences, which [`LengthLimits::clean`] leaves out.
    pub train: Bitext,
    /// For choices that must not be made on the test set. No empty sentences.
    pub validation: Bitext,
    /// To score on. No empty sentences.
    pub test: Bitext,
    /// Further reference translations of the test set, each list as long as the set; none in most corpora.
    pub more_references: Vec<Vec<String>>,
}

impl BitextSplits {
    /// The first 16 hexadecimal digits of a SHA-256 over all parts (numbers and lengths included; training, validation, test, further
    /// references): two corpora with the same hash are the same text in the same direction, wherever they came from.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        [&self.train, &self.validation, &self.test].into_iter().for_each(|part| part.digest(&mut hash));
        for references in &self.more_references {
            hash.update((references.len() as u64).to_le_bytes());
            references.iter().for_each(|r| update(&mut hash, r));
        }
        kd_base::hex(&hash.finalize()[..8])
    }

    /// All references of each test sentence, as [`crate::bleu`] takes them.
    pub fn test_references(&self) -> Vec<Vec<&str>> {
        let more = |i: usize| self.more_references.iter().filter_map(move |list| list.get(i)).map(String::as_str);
        self.test.target.iter().enumerate().map(|(i, first)| std::iter::once(first.as_str()).chain(more(i)).collect()).collect()
    }
}

/// From which language to which, as codes: what file names end in and what columns are called.
///
/// ```
/// use kd_translation::bitext::Languages;
/// let direction: Languages = "en-de".parse()?;
/// assert_eq!((direction.source(), direction.target()), ("en", "de"));
/// assert!("en-../de".parse::<Languages>().is_err());
/// # Ok::<(), kd_core::data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Languages {
    source: String,
    target: String,
}

impl Languages {
    /// Two different codes of ASCII letters, digits and underscores, such as `en` and `zh_Hans`.
    ///
    /// # Errors
    /// [`DataError::Argument`] for anything else: codes become parts of file names.
    pub fn new(source: &str, target: &str) -> Result<Self, DataError> {
        let fit = |code: &str| !code.is_empty() && code.len() <= 32 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fit(source) || !fit(target) || source == target {
            let expected = "two different codes of letters, digits and underscores, such as en-de".to_string();
            return Err(DataError::Argument { what: "languages", expected, got: format!("{source}-{target}") });
        }
        Ok(Self { source: source.to_string(), target: target.to_string() })
    }

    /// The language to translate from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The language to translate to.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl FromStr for Languages {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (source, target) = text.split_once('-').unwrap_or((text, ""));
        Self::new(source, target)
    }
}

impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.source, self.target)
    }
}
