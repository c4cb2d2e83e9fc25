//! Translation with a Transformer: training on sentence pairs ([`training`]), searching for translations ([`search`]), and how good and how
//! fast they are ([`evaluation`]).

pub mod evaluation;
pub mod saved;
pub mod search;
pub mod training;

pub use evaluation::{Translated, evaluate};
pub use saved::SavedTransformer;
pub use search::{Search, translate};
pub use training::{Learner, Pairs, TranslationSpec, Translations, WordDistillation};
