//! A vocabulary: trained, read and written, and put to use.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Model, SplitDelimiterBehavior, Tokenizer, Trainer};

use super::pieces::{SPACE, pieces};
use super::special::{BOS, EOS, PAD, SPECIAL, UNK};
use kd_base::atomic;
use kd_base::message::with_causes;
use kd_core::data::DataError;

/// The largest file accepted; a vocabulary of 40,000 has 3 MB.
const MAX_FILE: u64 = 1 << 27;

/// The most tokens of a vocabulary.
pub const MAX_VOCABULARY: usize = 1 << 24;

/// How a vocabulary is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpeSettings {
    /// Number of tokens: special ones, characters and merged pieces. Fewer where the text has no
    /// more pairs to merge.
    pub size: usize,
    /// The most characters, the frequent ones first; the others become [`UNK`].
    pub characters: usize,
    /// How often a pair has to occur for being merged.
    pub min_frequency: u64,
}

impl BpeSettings {
    /// `size` tokens, at most 1,000 characters, pairs that occur at least twice.
    pub fn new(size: usize) -> Self {
        Self { size, characters: 1000, min_frequency: 2 }
    }
}

/// What tells one vocabulary from another; for checkpoints to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VocabularyId {
    /// Number of tokens.
    pub size: usize,
    /// The first 16 hexadecimal digits of the SHA-256 of the vocabulary's JSON.
    pub hash: String,
}

impl fmt::Display for VocabularyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} tokens with the hash {}", self.size, self.hash)
    }
}

/// A trained vocabulary. Cloning is cheap.
#[derive(Clone)]
pub struct Bpe(Arc<Inner>);

struct Inner {
    model: BPE,
    /// By id.
    tokens: Vec<String>,
    json: String,
    id: VocabularyId,
}

impl fmt::Debug for Bpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bpe({})", self.0.id)
    }
}

/// Of two vocabularies with the same id each does what the other does.
impl PartialEq for Bpe {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Bpe {}

impl Bpe {
    /// Trains on `lines`, which should be the training set's. The same lines, in any order, give
    /// the same vocabulary, whatever the number of threads.
    ///
    /// # Errors
    /// [`DataError::Argument`] where `size` does not hold the special tokens and characters, or is
    /// more than [`MAX_VOCABULARY`]; [`DataError::Vocabulary`] where there is no text.
    pub fn train(lines: &[&str], settings: &BpeSettings) -> Result<Self, DataError> {
        if settings.size > MAX_VOCABULARY {
            // The trainer makes room for all of them first.
            return Err(DataError::Argument {
                what: "vocabulary size",
                expected: format!("at most {MAX_VOCABULARY}"),
                got: settings.size.to_string(),
            });
        }
        let found = || "training text".to_string();
        let alphabet = alphabet(lines, settings.characters);
        if alphabet.len() < 2 {
            let (expected, got) = ("of its characters".to_string(), "no text".to_string());
            return Err(DataError::Vocabulary { found: found(), expected, got });
        }
        let least = SPECIAL.len() + alphabet.len();
        if settings.size < least {
            let expected = format!(
                "at least {least}, for the special tokens and {} characters",
                alphabet.len()
            );
            return Err(DataError::Argument {
                what: "vocabulary size",
                expected,
                got: settings.size.to_string(),
            });
        }
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(settings.size)
            .min_frequency(settings.min_frequency)
            .special_tokens(special_tokens())
            // Characters of the initial alphabet come before all others, and there is room for no
            // others.
            .limit_alphabet(alphabet.len())
            .initial_alphabet(alphabet)
            .build();
        let failed = |e: tokenizers::Error| DataError::Vocabulary {
            found: found(),
            expected: "to be trained".to_string(),
            got: with_causes(e.as_ref()),
        };
        trainer.feed(lines.iter(), |line| Ok(training_words(line))).map_err(failed)?;
        let mut model = BPE::default();
        trainer.train(&mut model).map_err(failed)?;
        // Through the same door as a vocabulary from a file, so that the two cannot differ.
        Self::from_json(to_json(model).map_err(failed)?.as_bytes(), "training text")
    }

    /// Reads a vocabulary from bytes of the `tokenizers` crate's JSON, as [`Bpe::to_json`] writes
    /// it. `found` names it in errors.
    ///
    /// # Errors
    /// [`DataError::Vocabulary`] for anything else, such as a tokenizer of another kind.
    pub fn from_json(json: &[u8], found: &str) -> Result<Self, DataError> {
        let fault = |expected: &str, got: String| DataError::Vocabulary {
            found: found.to_string(),
            expected: expected.to_string(),
            got,
        };
        let form = "in the JSON of a byte-pair tokenizer";
        let mut rest: Value =
            serde_json::from_slice(json).map_err(|e| fault(form, with_causes(&e)))?;
        // Whatever else the file says (normalisation, other ways to cut words, dropout) would
        // change what its tokens mean. It is compared before the crate's reader sees it,
        // which trusts some of these fields.
        let model = take_model(&mut rest).ok_or_else(|| fault(form, "other JSON".to_string()))?;
        let empty = to_json(BPE::default()).map_err(|e| fault(form, with_causes(e.as_ref())))?;
        let mut ours: Value =
            serde_json::from_str(&empty).map_err(|e| fault(form, with_causes(&e)))?;
        take_model(&mut ours);
        if rest != ours {
            return Err(fault(
                "that cuts words at spaces and punctuation and does nothing else",
                "other settings".to_string(),
            ));
        }
        // Through text, because the crate's reader borrows strings from it.
        let model: BPE =
            serde_json::from_str(&model.to_string()).map_err(|e| fault(form, with_causes(&e)))?;
        let vocabulary = model.get_vocab();
        let size = vocabulary.len();
        let mut tokens = vec![None; size];
        for (token, id) in vocabulary {
            match tokens.get_mut(id as usize) {
                Some(slot) => *slot = Some(token),
                None => {
                    return Err(fault(
                        &format!("with ids below its {size} tokens"),
                        format!("id {id}"),
                    ));
                }
            }
        }
        let tokens: Option<Vec<String>> = tokens.into_iter().collect();
        let tokens =
            tokens.ok_or_else(|| fault("with one token for each id", "an id twice".to_string()))?;
        if let Some(i) =
            (0..SPECIAL.len()).find(|&i| tokens.get(i).is_none_or(|token| token != SPECIAL[i]))
        {
            let got = tokens.get(i).map_or("none".to_string(), |token| format!("{token:?}"));
            return Err(fault(&format!("with the token {:?} at id {i}", SPECIAL[i]), got));
        }
        let json = to_json(model.clone()).map_err(|e| fault(form, with_causes(e.as_ref())))?;
        let hash = kd_base::hex(&Sha256::digest(json.as_bytes())[..8]);
        Ok(Self(Arc::new(Inner { model, tokens, json, id: VocabularyId { size, hash } })))
    }

    /// Reads a vocabulary from a file.
    ///
    /// # Errors
    /// As [`Bpe::from_json`]; [`DataError::Io`].
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_path_buf(), source };
        let size = std::fs::metadata(path).map_err(io)?.len();
        let found = path.display().to_string();
        if size > MAX_FILE {
            let (expected, got) = (format!("of at most {MAX_FILE} bytes"), format!("{size}"));
            return Err(DataError::Vocabulary { found, expected, got });
        }
        Self::from_json(&std::fs::read(path).map_err(io)?, &found)
    }

    /// Writes the vocabulary to a file, which appears whole or not at all.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, path: &Path) -> kd_core::Result<()> {
        Ok(atomic::write(path, self.0.json.as_bytes())?)
    }

    /// The vocabulary as JSON: the same text for the same vocabulary.
    pub fn to_json(&self) -> &str {
        &self.0.json
    }

    /// Number of tokens; ids are below it.
    pub fn size(&self) -> usize {
        self.0.tokens.len()
    }

    /// What tells this vocabulary from others.
    pub fn id(&self) -> &VocabularyId {
        &self.0.id
    }

    /// Makes sure that this is the vocabulary that `whose` (a checkpoint's path, say) was made
    /// with.
    ///
    /// # Errors
    /// [`DataError::Vocabulary`] where it is another.
    pub fn check(&self, expected: &VocabularyId, whose: &str) -> Result<(), DataError> {
        if self.id() != expected {
            return Err(DataError::Vocabulary {
                found: whose.to_string(),
                expected: expected.to_string(),
                got: format!("one {}", self.id()),
            });
        }
        Ok(())
    }

    /// The token with this id, `▁` standing for a space.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.0.tokens.get(id as usize).map(String::as_str)
    }

    /// A sentence's tokens, without [`BOS`] and [`EOS`]. No text gives [`PAD`], [`BOS`] or [`EOS`],
    /// not even their names.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        pieces(text, |piece| match piece {
            Some(word) => self.encode_word(word, &mut ids),
            None => ids.push(UNK),
        });
        ids
    }

    /// The tokens of many sentences, as [`Bpe::encode`] gives them. Faster than one by one: words
    /// are looked up once, in parallel.
    pub fn encode_all(&self, lines: &[String]) -> Vec<Vec<u32>> {
        let some = |lines: &[String]| {
            let mut known: HashMap<String, Vec<u32>> = HashMap::new();
            let mut encode = |line: &String| {
                let mut ids = Vec::with_capacity(line.len() / 3 + 1);
                pieces(line, |piece| match piece {
                    Some(word) => match known.get(word) {
                        Some(word) => ids.extend_from_slice(word),
                        None => {
                            let start = ids.len();
                            self.encode_word(word, &mut ids);
                            known.insert(word.to_string(), ids[start..].to_vec());
                        }
                    },
                    None => ids.push(UNK),
                });
                ids
            };
            lines.iter().map(&mut encode).collect::<Vec<_>>()
        };
        lines.par_chunks(1 << 13).flat_map_iter(some).collect()
    }

    /// Appends the tokens of one of [`pieces`].
    fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        match self.0.model.tokenize(word) {
            Ok(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
            // The crate's only error is a vocabulary without an unknown token, which this one has.
            Err(_) => ids.push(UNK),
        }
    }

    /// The text of some tokens: that which [`Bpe::encode`] was given, if it gave no [`UNK`].
    /// [`PAD`], [`BOS`] and [`EOS`] are left out; [`UNK`] and ids that the vocabulary does not
    /// have become `<unk>`.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut text = String::new();
        for &id in ids.iter().filter(|&&id| ![PAD, BOS, EOS].contains(&id)) {
            text.push_str(self.token(id).unwrap_or(SPECIAL[UNK as usize]));
        }
        text.strip_prefix(SPACE).unwrap_or(&text).replace(SPACE, " ")
    }
}

fn special_tokens() -> Vec<AddedToken> {
    SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect()
}

/// The model's tokens and merges with everything around them that this module does, so that other
/// readers of the file do the same.
fn to_json(mut model: BPE) -> tokenizers::Result<String> {
    model.unk_token = Some(SPECIAL[UNK as usize].to_string());
    (model.dropout, model.continuing_subword_prefix, model.end_of_word_suffix) = (None, None, None);
    (model.fuse_unk, model.byte_fallback, model.ignore_merges) = (false, false, false);
    let space = Metaspace::new(SPACE, PrependScheme::Always, true);
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(vec![
            space.clone().into(),
            Punctuation::new(SplitDelimiterBehavior::Isolated).into(),
        ])))
        .with_decoder(Some(space));
    tokenizer.add_special_tokens(special_tokens())?;
    tokenizer.to_string(true)
}

/// The model of a tokenizer's JSON, of which nothing but tokens and merges is taken away.
fn take_model(tokenizer: &mut Value) -> Option<Value> {
    let model = tokenizer.get_mut("model")?;
    let whole = model.clone();
    let fields = model.as_object_mut()?;
    fields.remove("vocab")?;
    fields.remove("merges")?;
    Some(whole)
}

/// The words of a line that vocabularies are trained on: no token may spell a special token's name,
/// so no such word is looked at. (With punctuation cut off there is none; this keeps it so.)
fn training_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    pieces(line, |piece| {
        words.extend(
            piece.filter(|word| !SPECIAL.iter().any(|s| word.contains(s))).map(str::to_string),
        )
    });
    words
}

/// The most frequent characters of the lines, at most `limit`, ties by code point; and the space.
fn alphabet(lines: &[&str], limit: usize) -> HashSet<char> {
    let mut counts: HashMap<char, u64> = HashMap::new();
    for line in lines {
        for c in line.chars().filter(|&c| c != ' ' && c != SPACE) {
            *counts.entry(c).or_default() += 1;
        }
    }
    let mut kept: Vec<(char, u64)> = counts.into_iter().collect();
    kept.sort_unstable_by_key(|&(c, n)| (std::cmp::Reverse(n), c));
    kept.into_iter().take(limit).map(|(c, _)| c).chain([SPACE]).collect()
}
