//! Translation as a distillation task: parallel text ([`bitext`]), vocabularies ([`bpe`]), batches
//! by tokens ([`token_batches`]), the Transformer ([`transformer`]) and the student whose weights
//! are computed from its teacher's ([`generated_student`]), training on sentence
//! pairs ([`training`]), searching for translations ([`search`]), and how good and how fast they
//! are ([`evaluation`], [`bleu`]).

pub mod bitext;
pub mod bleu;
pub mod bpe;
pub mod evaluation;
pub mod generated_student;
pub mod saved;
pub mod search;
pub mod token_batches;
pub mod training;
pub mod transformer;

pub use bitext::{Bitext, BitextSplits};
pub use bpe::{Bpe, Vocabularies};
pub use evaluation::{Translated, evaluate};
pub use saved::SavedTransformer;
pub use search::{Search, translate};
pub use token_batches::{TokenBatch, TokenBatches, TokenPairs};
pub use training::{Learner, Pairs, TranslationSpec, TranslationTask, WordDistillation};
