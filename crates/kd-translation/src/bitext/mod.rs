//! Parallel text: sentences in one language beside their translations.
//!
//! One file for each form it comes in: [`directory`] (plain text, gzipped text or JSON lines),
//! [`hub`] (Multi30k and two WMT tasks), [`translations`] (the hub's tables, streamed) and [`toy`]
//! (a generated pair of languages). [`load`] chooses between them. [`lines`] reads the lines of all
//! of them, and [`sentence()`] says what a line means. [`cleaning`] leaves out what is not worth
//! training on, and counts it.

pub mod cleaning;
pub mod directory;
pub mod hub;
pub mod jsonl;
pub mod languages;
pub mod lines;
pub mod pairs;
pub mod sentence;
pub mod source;
pub mod toy;
mod toy_words;
pub mod translations;

pub use cleaning::{Cleaning, LengthLimits};
pub use hub::Corpus;
pub use languages::Languages;
pub use lines::{Lines, MAX_LINE};
pub use pairs::{Bitext, BitextSplits};
pub use sentence::sentence;
pub use source::{BitextRequest, BitextSource, load};
pub use toy::Toy;
pub use translations::Translations;
