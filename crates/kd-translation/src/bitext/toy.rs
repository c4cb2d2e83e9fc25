//! A generated pair of languages, for machines without a network.
//!
//! It has what makes translation more than replacing words, each in a small and regular form:
//!
//! - order: the target's verb stands at the end of its clause, the time at the front of the
//!   sentence, prepositions behind their noun, and a relative clause before its noun;
//! - agreement: articles, adjectives, participles, verbs and pronouns of the target follow the
//!   gender and number of a noun that may be far away or in another clause, and gender shows in no
//!   word's form;
//! - ambiguity: some nouns have two translations of different gender, chosen by the verb of their
//!   clause.
//!
//! A translation is a function of its source, so a model that has learnt the languages scores 100
//! BLEU. Words are few and endings regular, so a small Transformer learns most of it from some
//! thousand sentences; what needs the context is learnt last, and less by a smaller one.

use std::collections::HashSet;

use kd_kernels::stream::Stream;

use super::pairs::{Bitext, BitextSplits};
use super::toy_words::{ADJECTIVES, ADVERBS, Gender, NOUNS, PREPOSITIONS, VERBS, Words};
use kd_core::Seed;
use kd_core::data::DataError;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toy {
    /// Number of training pairs.
    pub train: usize,
    /// Number of validation pairs.
    pub validation: usize,
    /// Number of test pairs.
    pub test: usize,
    /// The seed of the sentences; the languages are always the same.
    pub seed: u64,
}

impl Default for Toy {
    /// 20,000 + 500 + 500 pairs of seed 0.
    fn default() -> Self {
        Self { train: 20_000, validation: 500, test: 500, seed: 0 }
    }
}

/// The most pairs of a part: far below the number of sentences that there are.
const MAX_PAIRS: usize = 10_000_000;

/// Generates all parts. No source sentence occurs twice, in one part or in two: which part a
/// sentence may be in is decided by a hash of it. A part with more pairs begins with the same ones,
/// whatever the other parts' sizes.
///
/// # Errors
/// [`DataError::Argument`] for a part of no pairs, or of more than 10 million.
pub fn generate(what: &Toy) -> Result<BitextSplits, DataError> {
    let words = Words::new();
    let part = |part: Part, n: usize| {
        if !(1..=MAX_PAIRS).contains(&n) {
            let expected = format!("1 to {MAX_PAIRS}");
            return Err(DataError::Argument {
                what: "pairs of a generated part",
                expected,
                got: n.to_string(),
            });
        }
        Ok(sentences(&words, Seed(what.seed), part, n))
    };
    let train = part(Part::Train, what.train)?;
    let (validation, test) =
        (part(Part::Validation, what.validation)?, part(Part::Test, what.test)?);
    Ok(BitextSplits { train, validation, test, more_references: Vec::new() })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Validation,
    Test,
}

impl Part {
    /// The part that a source sentence belongs to: FNV-1a of it, a quarter each for validation and
    /// test.
    fn of(source: &str) -> Self {
        let hash = kd_core::seed::fnv1a(source.as_bytes());
        match (hash >> 32) % 4 {
            0 => Self::Validation,
            1 => Self::Test,
            _ => Self::Train,
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Train => "bitext.toy.train",
            Self::Validation => "bitext.toy.validation",
            Self::Test => "bitext.toy.test",
        }
    }
}

fn sentences(words: &Words, seed: Seed, part: Part, n: usize) -> Bitext {
    let mut taken = HashSet::new();
    let mut pairs = Bitext::default();
    for candidate in 0.. {
        if pairs.len() == n {
            break;
        }
        let sentence = Sentence::draw(&mut Draws {
            stream: seed.stream(part.purpose(), candidate, 0),
            next: 0,
        });
        let source = sentence.source(words);
        if Part::of(&source) == part && taken.insert(source.clone()) {
            pairs.push(source, sentence.target(words));
        }
    }
    pairs
}

/// The draws of one sentence in order.
struct Draws {
    stream: Stream,
    next: u64,
}

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        self.stream.below(self.next, n as u64) as usize
    }

    /// True in `percent` of 100 cases.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A noun with what goes with it, as numbers of words.
struct Phrase {
    noun: usize,
    plural: bool,
    definite: bool,
    adjectives: Vec<usize>,
    /// A verb and its object: "that sees the dog".
    relative: Option<(usize, Box<Phrase>)>,
}

struct Clause {
    verb: usize,
    past: bool,
    negated: bool,
    object: Option<Phrase>,
    place: Option<(usize, Phrase)>,
}

struct Sentence {
    subject: Phrase,
    first: Clause,
    /// A clause whose subject is a pronoun for the first one's.
    second: Option<Clause>,
    time: Option<usize>,
    question: bool,
}

impl Phrase {
    fn draw(draws: &mut Draws, relative: usize) -> Self {
        let (noun, plural, definite) = (draws.below(NOUNS), draws.chance(35), draws.chance(60));
        let adjectives =
            (0..[0, 0, 1, 1, 2][draws.below(5)]).map(|_| draws.below(ADJECTIVES)).collect();
        let relative =
            draws.chance(relative).then(|| (draws.below(VERBS), Box::new(Self::draw(draws, 0))));
        Self { noun, plural, definite, adjectives, relative }
    }
}

impl Clause {
    fn draw(draws: &mut Draws, place: usize) -> Self {
        let (verb, past, negated) = (draws.below(VERBS), draws.chance(50), draws.chance(20));
        let object = draws.chance(70).then(|| Phrase::draw(draws, 0));
        let place =
            draws.chance(place).then(|| (draws.below(PREPOSITIONS), Phrase::draw(draws, 0)));
        Self { verb, past, negated, object, place }
    }
}

impl Sentence {
    fn draw(draws: &mut Draws) -> Self {
        let (subject, first) = (Phrase::draw(draws, 25), Clause::draw(draws, 35));
        let second = draws.chance(30).then(|| Clause::draw(draws, 0));
        Self {
            subject,
            first,
            second,
            time: draws.chance(35).then(|| draws.below(ADVERBS)),
            question: draws.chance(20),
        }
    }

    /// Subject, verb, object, place; the time at the end. Numbers and tenses show, genders do not
    /// exist.
    fn source(&self, words: &Words) -> String {
        let mut out = Vec::new();
        source_phrase(&self.subject, words, &mut out);
        source_clause(&self.first, words, &mut out);
        if let Some(second) = &self.second {
            out.push("and".to_string());
            out.push(if self.subject.plural { "they" } else { "it" }.to_string());
            source_clause(second, words, &mut out);
        }
        out.extend(self.time.map(|time| words.adverbs[time].0.clone()));
        finish(out, self.question)
    }

    /// The time, a mark for questions, subject, place, object, verb.
    fn target(&self, words: &Words) -> String {
        let mut out: Vec<String> =
            self.time.map(|time| words.adverbs[time].1.clone()).into_iter().collect();
        if self.question {
            out.push("ke".to_string());
        }
        let agreement = Agreement::new(&self.subject, self.first.verb, words);
        target_phrase(&self.subject, self.first.verb, false, words, &mut out);
        target_clause(&self.first, agreement, words, &mut out);
        if let Some(second) = &self.second {
            if let Some(last) = out.last_mut() {
                last.push(',');
            }
            out.push("o".to_string());
            out.push(agreement.pick(["on", "ona", "onö"], ["oni", "oni", "onu"]).to_string());
            target_clause(second, agreement, words, &mut out);
        }
        finish(out, self.question)
    }
}

fn finish(words: Vec<String>, question: bool) -> String {
    words.join(" ") + if question { "?" } else { "." }
}

fn source_phrase(phrase: &Phrase, words: &Words, out: &mut Vec<String>) {
    match (phrase.definite, phrase.plural) {
        (true, _) => out.push("the".to_string()),
        (false, false) => out.push("a".to_string()),
        (false, true) => {}
    }
    out.extend(phrase.adjectives.iter().map(|&a| words.adjectives[a].0.clone()));
    let noun = &words.source_nouns[phrase.noun];
    out.push(if phrase.plural { format!("{noun}s") } else { noun.clone() });
    if let Some((verb, object)) = &phrase.relative {
        out.extend(["that".to_string(), words.verbs[*verb].0.clone()]);
        source_phrase(object, words, out);
    }
}

fn source_clause(clause: &Clause, words: &Words, out: &mut Vec<String>) {
    if clause.negated {
        out.push("not".to_string());
    }
    let verb = &words.verbs[clause.verb].0;
    out.push(if clause.past { format!("{verb}ed") } else { verb.clone() });
    if let Some(object) = &clause.object {
        source_phrase(object, words, out);
    }
    if let Some((preposition, place)) = &clause.place {
        out.push(words.prepositions[*preposition].0.clone());
        source_phrase(place, words, out);
    }
}

/// What words that go with a noun follow.
#[derive(Clone, Copy)]
struct Agreement {
    gender: Gender,
    plural: bool,
}

impl Agreement {
    /// Of `phrase` in a clause with this verb, which decides what an ambiguous noun means.
    fn new(phrase: &Phrase, verb: usize, words: &Words) -> Self {
        let (first, second) = &words.target_nouns[phrase.noun];
        let noun = second.as_ref().filter(|_| verb % 2 == 1).unwrap_or(first);
        Self { gender: noun.gender, plural: phrase.plural }
    }

    fn pick<T: Copy>(self, singular: [T; 3], plural: [T; 3]) -> T {
        let forms = if self.plural { plural } else { singular };
        match self.gender {
            Gender::First => forms[0],
            Gender::Second => forms[1],
            Gender::Third => forms[2],
        }
    }
}

fn target_phrase(phrase: &Phrase, verb: usize, object: bool, words: &Words, out: &mut Vec<String>) {
    let agreement = Agreement::new(phrase, verb, words);
    let article = match (phrase.definite, object) {
        (true, false) => agreement.pick(["de", "da", "dö"], ["di", "di", "du"]),
        (true, true) => agreement.pick(["dem", "dan", "dö"], ["dim", "din", "du"]),
        (false, false) => agreement.pick(["en", "ena", "enö"], ["", "", ""]),
        (false, true) => agreement.pick(["enem", "enan", "enö"], ["", "", ""]),
    };
    if !article.is_empty() {
        out.push(article.to_string());
    }
    let ending = agreement.pick(["er", "a", "ö"], ["i", "e", "u"]);
    if let Some((verb, object)) = &phrase.relative {
        target_phrase(object, *verb, true, words, out);
        out.push(format!("{}end{ending}", words.verbs[*verb].1));
    }
    out.extend(phrase.adjectives.iter().map(|&a| format!("{}{ending}", words.adjectives[a].1)));
    let (first, second) = &words.target_nouns[phrase.noun];
    let noun = second.as_ref().filter(|_| verb % 2 == 1).unwrap_or(first);
    out.push(format!("{}{}", noun.stem, agreement.pick(["", "", ""], ["en", "s", "ir"])));
}

fn target_clause(clause: &Clause, subject: Agreement, words: &Words, out: &mut Vec<String>) {
    if let Some((preposition, place)) = &clause.place {
        target_phrase(place, clause.verb, false, words, out);
        out.push(words.prepositions[*preposition].1.clone());
    }
    if let Some(object) = &clause.object {
        target_phrase(object, clause.verb, true, words, out);
    }
    // The present follows the number alone, the past the gender too.
    let ending = if clause.past {
        subject.pick(["el", "ela", "elö"], ["eli", "eli", "elu"])
    } else {
        subject.pick(["et", "et", "et"], ["unt", "unt", "unt"])
    };
    out.push(format!("{}{ending}", words.verbs[clause.verb].1));
    if clause.negated {
        out.push("nej".to_string());
    }
}
