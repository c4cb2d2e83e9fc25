//! The text of a cell, cleaned, with its vocabularies: a function of the data and of [`TextPart`],
//! kept for the cells that state the same.

use std::sync::{Arc, Mutex, PoisonError};

use kd_core::Result;
use kd_core::data::{OnDemand, Provenance};
use kd_translation::bitext::{self, Bitext, BitextSplits, Cleaning, LengthLimits, cleaning::words};
use kd_translation::bpe::Vocabularies;

use crate::spec::TextPart;

/// Text that is ready to train on.
pub struct Text {
    /// Training pairs that are kept.
    pub train: Bitext,
    /// What was left out.
    pub cleaning: Cleaning,
    /// Trained on `train` alone.
    pub vocabularies: Vocabularies,
}

/// The texts that were made last.
#[derive(Default)]
struct Texts(Mutex<Vec<(TextPart, Arc<Text>)>>);

impl Texts {
    /// The text that `part` describes.
    ///
    /// # Errors
    /// Bad input where nothing is left to train on.
    fn get(&self, part: &TextPart, data: &BitextSplits) -> Result<Arc<Text>> {
        // Entries are pushed whole.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = known.iter().find(|(p, _)| p == part) {
            return Ok(text.clone());
        }
        let limit = if part.limit == 0 { usize::MAX } else { part.limit };
        let limits = LengthLimits::new(part.max_words, part.max_ratio)?;
        let (train, cleaning) = limits.clean(data.train.clone().evenly_spaced(limit), words, words);
        let vocabularies = Vocabularies::train(&train, &part.settings(), part.joint)?;
        let text = Arc::new(Text { train, cleaning, vocabularies });
        known.push((part.clone(), text.clone()));
        Ok(text)
    }
}

/// The text of the paper's cells: found, downloaded or generated at the first call, and cut up as
/// cells ask.
pub struct Corpus {
    data: OnDemand<BitextSplits>,
    texts: Texts,
}

impl Corpus {
    /// The text that `request` asks for. Nothing is loaded until it is needed.
    pub fn new(request: bitext::BitextRequest) -> Self {
        Self { data: OnDemand::new(move || bitext::load(&request)), texts: Texts::default() }
    }

    /// The text, found, downloaded or generated at the first call.
    ///
    /// # Errors
    /// As [`bitext::load`].
    pub fn splits(&self) -> Result<&(BitextSplits, Provenance)> {
        self.data.get()
    }

    /// Its parts.
    ///
    /// # Errors
    /// As [`bitext::load`].
    pub fn data(&self) -> Result<&BitextSplits> {
        Ok(&self.splits()?.0)
    }

    /// The training text that `part` describes, with its vocabularies.
    ///
    /// # Errors
    /// As [`bitext::load`], and where nothing is left to train on.
    pub fn text(&self, part: &TextPart) -> Result<Arc<Text>> {
        self.texts.get(part, self.data()?)
    }
}
