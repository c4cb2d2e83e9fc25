//! What a generator is made of, as an experiment file writes it.

use serde::{Deserialize, Serialize};

use super::classes::Block;
pub use kd_core::weight_map::Start;

/// Which of the two published forms of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As the paper states it: the maps of input, output and layers are shared within a class, and
    /// used in both halves.
    Paper,
    /// As the released program does it: each student layer has its own maps; a half of the
    /// teacher's shape (the encoder) has none, only W and B; layers are mixed by two maps in a
    /// row.
    ReleasedCode,
}

/// A generator, as an experiment file writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GeneratorSpec {
    /// Which form.
    pub form: Form,
    /// How its maps begin.
    pub start: Start,
    /// Blocks of the encoder whose weights are computed from the teacher's; the others begin at
    /// random and train as they are.
    pub encoder: Vec<Block>,
    /// Blocks of the decoder whose weights are computed from the teacher's.
    pub decoder: Vec<Block>,
    /// Whether the word vectors are computed from the teacher's.
    pub embeddings: bool,
}
