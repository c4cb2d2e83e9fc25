//! The vocabularies of a pair of languages.

use std::path::Path;

use kd_core::data::DataError;

use super::vocabulary::{Bpe, BpeSettings};
use crate::bitext::Bitext;
use crate::token_batches::TokenPairs;

/// The vocabularies of both sides; one and the same where they are joint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabularies {
    /// Of the language to translate from.
    pub source: Bpe,
    /// Of the language to translate to.
    pub target: Bpe,
}

/// The file of a joint vocabulary, and those of two.
const JOINT: &str = "bpe.json";
const SEPARATE: [&str; 2] = ["bpe.source.json", "bpe.target.json"];

impl Vocabularies {
    /// Trains on a training set: one vocabulary on both sides' text if `joint`, one on each side's
    /// otherwise.
    ///
    /// # Errors
    /// As [`Bpe::train`].
    pub fn train(
        training: &Bitext,
        settings: &BpeSettings,
        joint: bool,
    ) -> Result<Self, DataError> {
        let source: Vec<&str> = training.source.iter().map(String::as_str).collect();
        let target: Vec<&str> = training.target.iter().map(String::as_str).collect();
        if joint {
            let both = Bpe::train(&[source, target].concat(), settings)?;
            return Ok(Self { source: both.clone(), target: both });
        }
        Ok(Self { source: Bpe::train(&source, settings)?, target: Bpe::train(&target, settings)? })
    }

    /// Whether both sides have the same vocabulary, so that their embeddings can be shared.
    pub fn joint(&self) -> bool {
        self.source == self.target
    }

    /// The names of the files that [`Vocabularies::save`] may write.
    pub const FILES: [&str; 3] = [JOINT, SEPARATE[0], SEPARATE[1]];

    /// Writes `bpe.json` to a folder, or `bpe.source.json` and `bpe.target.json` where the two
    /// differ.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn save(&self, dir: &Path) -> kd_core::Result<()> {
        if self.joint() {
            return self.source.save(&dir.join(JOINT));
        }
        self.source.save(&dir.join(SEPARATE[0]))?;
        self.target.save(&dir.join(SEPARATE[1]))
    }

    /// Reads what [`Vocabularies::save`] wrote; `bpe.json` first.
    ///
    /// # Errors
    /// As [`Bpe::load`].
    pub fn load(dir: &Path) -> Result<Self, DataError> {
        let joint = dir.join(JOINT);
        if joint.is_file() {
            let both = Bpe::load(&joint)?;
            return Ok(Self { source: both.clone(), target: both });
        }
        Ok(Self {
            source: Bpe::load(&dir.join(SEPARATE[0]))?,
            target: Bpe::load(&dir.join(SEPARATE[1]))?,
        })
    }

    /// Both sides' tokens, without [`super::BOS`] and [`super::EOS`], in the order of the pairs.
    pub fn encode(&self, bitext: &Bitext) -> TokenPairs {
        TokenPairs {
            source: self.source.encode_all(&bitext.source),
            target: self.target.encode_all(&bitext.target),
        }
    }
}
