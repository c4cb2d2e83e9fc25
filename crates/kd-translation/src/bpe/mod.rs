//! Vocabularies of byte-pair encoding (Sennrich, Haddow and Birch 2016): words cut into pieces that
//! were frequent in the training text.
//!
//! A [`Bpe`] is trained by the `tokenizers` crate and kept in its JSON format, so that Hugging
//! Face's tools read the same file. Words are cut at spaces, a space becoming a `▁` in front of its
//! word, and each punctuation character is a word of its own: no piece reaches from a word into the
//! comma behind it. Characters are Unicode's, not bytes. The four special tokens have the ids 0 to
//! 3 in each vocabulary.

mod pieces;
mod special;
mod vocabularies;
mod vocabulary;

pub use special::{BOS, EOS, PAD, UNK};
pub use vocabularies::Vocabularies;
pub use vocabulary::{Bpe, BpeSettings, MAX_VOCABULARY, VocabularyId};
