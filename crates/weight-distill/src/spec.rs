//! What the rows of this paper's experiment files say: one strict type per kind of cell.

use kd_core::{Error, Result};
use kd_experiment::{Cell, Needs, Role};
use kd_translation::bpe::{BpeSettings, MAX_VOCABULARY};
use kd_translation::generated_student::GeneratorSpec;
use kd_translation::transformer::{Embeddings, Norm, Stack, TransformerSpec};
use kd_translation::{Search, TranslationSpec};
use serde::{Deserialize, Serialize};

/// A kind of cell with its specification.
pub enum CellSpec {
    /// `train`: an ordinary network, from whatever start.
    Train(Box<TrainCell>),
    /// `pseudo`: a teacher's translations of the training text.
    Pseudo(PseudoCell),
    /// `generate`: the first phase of weight distillation.
    Generate(Box<GenerateCell>),
    /// `speed`: a student's decoding beside its teacher's.
    Speed(SpeedCell),
    /// `difference`: one finished cell's BLEU less another's.
    Difference(EmptyCell),
    /// `quoted`: a finished cell of another table.
    Quoted(EmptyCell),
}

/// The text of a cell: which pairs, and in which units. Cells that belong together state the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TextPart {
    /// Units of a vocabulary.
    pub vocabulary: usize,
    /// Whether both languages have one vocabulary.
    pub joint: bool,
    /// Training pairs with more words on a side are left out, counted as between white space.
    pub max_words: usize,
    /// And those of which one side has more than so many times the words of the other.
    pub max_ratio: f64,
    /// Only so many training pairs, evenly spaced; 0 for all.
    pub limit: usize,
}

impl TextPart {
    fn check(&self) -> Result<()> {
        let Self { vocabulary, max_words, max_ratio, .. } = *self;
        Error::unless_within("text.vocabulary", vocabulary, 2..=MAX_VOCABULARY)?;
        if max_words == 0 || max_ratio.is_nan() || max_ratio < 1. {
            return Err(Error::bad_input(format!(
                "text: expected max-words and max-ratio of at least 1, got {max_words} and {max_ratio}"
            )));
        }
        Ok(())
    }

    /// How its vocabularies are trained.
    pub fn settings(&self) -> BpeSettings {
        BpeSettings::new(self.vocabulary)
    }
}

/// A Transformer, without what the text decides.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkPart {
    encoder: Stack,
    decoder: Stack,
    norm: Norm,
    embeddings: Embeddings,
    dropout: f64,
    attention_dropout: f64,
    relu_dropout: f64,
}

impl NetworkPart {
    /// With the numbers of words filled in.
    pub fn full(&self, source_vocabulary: usize, target_vocabulary: usize) -> TransformerSpec {
        let Self { encoder, decoder, norm, embeddings, dropout, attention_dropout, relu_dropout } =
            self.clone();
        TransformerSpec {
            source_vocabulary,
            target_vocabulary,
            encoder,
            decoder,
            norm,
            embeddings,
            dropout,
            attention_dropout,
            relu_dropout,
        }
    }
}

/// How a network begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At random.
    Random,
    /// As a part cut out of `needs.teacher`.
    Truncation,
    /// As the network of `needs.start`, for instance one that a generator was materialised to.
    Network,
}

/// A network to train: on the text, and on `needs.pseudo`'s translations beside it, where the cell
/// names any.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainCell {
    /// The text.
    pub text: TextPart,
    /// The network.
    pub network: NetworkPart,
    /// How it begins.
    pub start: Start,
    /// α of word-level distillation from `needs.teacher`; 0 for none.
    pub word_distillation: f64,
    /// The recipe.
    pub train: TranslationSpec,
    /// How translations are searched for.
    pub search: Search,
    /// BLEU on the validation set, found greedily, is measured every so many epochs; 0 for never.
    pub measure_every: usize,
}

/// Translations of the training text by `needs.teacher`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PseudoCell {
    /// The text.
    pub text: TextPart,
    /// How they are searched for.
    pub search: Search,
}

/// The first phase of weight distillation from `needs.teacher`, on the text and `needs.pseudo`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GenerateCell {
    /// The text.
    pub text: TextPart,
    /// The student.
    pub network: NetworkPart,
    /// The generator.
    pub generator: GeneratorSpec,
    /// The recipe.
    pub train: TranslationSpec,
    /// How translations are searched for.
    pub search: Search,
    /// As in [`TrainCell`].
    pub measure_every: usize,
}

/// Decoding times of `needs.teacher` and `needs.student`, by turns.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpeedCell {
    /// How translations are searched for.
    pub search: Search,
    /// The first so many test sentences.
    pub sentences: usize,
    /// Turns, of which the medians count.
    pub rounds: usize,
}

/// A cell that is a function of those it needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmptyCell {}

impl CellSpec {
    /// Reads and checks a cell's specification.
    ///
    /// # Errors
    /// Bad input that names the cell and what is wrong.
    pub fn read(cell: &Cell) -> kd_experiment::Result<Self> {
        let spec = match &*cell.kind {
            "train" => Self::Train(Box::new(cell.spec_as()?)),
            "pseudo" => Self::Pseudo(cell.spec_as()?),
            "generate" => Self::Generate(Box::new(cell.spec_as()?)),
            "speed" => Self::Speed(cell.spec_as()?),
            "difference" => Self::Difference(cell.spec_as()?),
            "quoted" => Self::Quoted(cell.spec_as()?),
            other => {
                let known = "train, pseudo, generate, speed, difference, quoted";
                return Err(Error::bad_input(format!(
                    "unknown kind '{other}': expected one of {known}"
                ))
                .into());
            }
        };
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<()> {
        if let Some(text) = self.text() {
            text.check()?;
        }
        let network = |part: &NetworkPart, text: &TextPart| {
            part.full(text.vocabulary, text.vocabulary).check()
        };
        match self {
            Self::Train(cell) => {
                network(&cell.network, &cell.text)?;
                if !(0. ..=1.).contains(&cell.word_distillation) {
                    let got = cell.word_distillation;
                    return Err(Error::bad_input(format!(
                        "expected word-distillation in [0, 1], got {got}"
                    )));
                }
                cell.train.check()?;
                cell.search.check()
            }
            Self::Generate(cell) => {
                network(&cell.network, &cell.text)?;
                cell.train.check()?;
                cell.search.check()
            }
            Self::Pseudo(PseudoCell { search, .. }) => search.check(),
            Self::Speed(cell) => {
                Error::unless_within("sentences", cell.sentences, 1..=1_000_000_000)?;
                Error::unless_within("rounds", cell.rounds, 1..=10_000)?;
                cell.search.check()
            }
            Self::Difference(_) | Self::Quoted(_) => Ok(()),
        }
    }

    /// Checks the cells that this one needs: their kinds, their number, and that networks and
    /// translations are of this cell's text.
    ///
    /// # Errors
    /// Bad input that names the role, what was expected and what was found.
    pub fn check_needs(&self, needs: &Needs<Self>) -> kd_experiment::Result<()> {
        /// The kinds whose cells save a network.
        const NETWORKS: &[&str] = &["train", "generate"];
        let teacher = Role::one("teacher", NETWORKS);
        let pseudo = Role::optional("pseudo", &["pseudo"]);
        let roles = match self {
            Self::Train(cell) => {
                let mut roles = vec![pseudo];
                if cell.start == Start::Truncation || cell.word_distillation > 0. {
                    roles.push(teacher);
                }
                if cell.start == Start::Network {
                    roles.push(Role::one("start", NETWORKS));
                }
                roles
            }
            Self::Pseudo(_) => vec![teacher],
            Self::Generate(_) => vec![teacher, pseudo],
            Self::Speed(_) => vec![teacher, Role::one("student", NETWORKS)],
            Self::Difference(_) => vec![Role::one("of", NETWORKS), Role::one("from", NETWORKS)],
            Self::Quoted(_) => vec![Role::one("of", NETWORKS), Role::optional("before", NETWORKS)],
        };
        needs.expect(&roles)?;
        // Their vocabularies are trained on the text, so another text is another vocabulary.
        let Some(own) = self.text() else { return Ok(()) };
        for role in ["teacher", "start", "pseudo"] {
            for other in needs.all(role) {
                if let Some(text) = other.spec.text()
                    && text != own
                {
                    let what = format!(
                        "needs.{role}: expected the text of this cell, {own:?}, got {text:?}"
                    );
                    return Err(Error::bad_input(what).into());
                }
            }
        }
        Ok(())
    }

    /// The text of a kind that has one.
    fn text(&self) -> Option<&TextPart> {
        match self {
            Self::Train(cell) => Some(&cell.text),
            Self::Pseudo(cell) => Some(&cell.text),
            Self::Generate(cell) => Some(&cell.text),
            Self::Speed(_) | Self::Difference(_) | Self::Quoted(_) => None,
        }
    }

    /// A rough estimate for listings: six operations for each weight and word at 150 GFLOP/s;
    /// `None` where it depends on what is not known before the cell runs.
    pub fn seconds_on_two_cores(&self) -> Option<f64> {
        let (text, network, train) = match self {
            Self::Train(cell) => (&cell.text, &cell.network, &cell.train),
            Self::Generate(cell) => (&cell.text, &cell.network, &cell.train),
            _ => return None,
        };
        let weights = network.full(text.vocabulary, text.vocabulary).parameters() as f64;
        Some(6. * weights * (train.updates * train.accumulate) as f64 * train.tokens as f64 / 150e9)
    }
}
