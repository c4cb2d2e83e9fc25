//! The special tokens, which have the same ids in every vocabulary.

/// Fills what is behind the end of shorter sentences.
pub const PAD: u32 = 0;
/// Stands before a sentence's first token.
pub const BOS: u32 = 1;
/// Stands behind a sentence's last token.
pub const EOS: u32 = 2;
/// A character that the vocabulary does not have.
pub const UNK: u32 = 3;

/// The special tokens' names, by id.
pub(super) const SPECIAL: [&str; 4] = ["<pad>", "<s>", "</s>", "<unk>"];
