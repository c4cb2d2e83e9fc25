//! The words of the generated pair of languages.

use kd_core::Seed;

/// The languages are always the same; only sentences depend on a seed that is asked for.
const LANGUAGES: Seed = Seed(0x746f_7979);

pub(super) const NOUNS: usize = 56;
/// The first nouns have two meanings.
pub(super) const AMBIGUOUS: usize = 10;
pub(super) const VERBS: usize = 32;
pub(super) const ADJECTIVES: usize = 24;
pub(super) const ADVERBS: usize = 10;
pub(super) const PREPOSITIONS: usize = 6;

/// Grammatical gender in the target language. Nothing in a word's form shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gender {
    First,
    Second,
    Third,
}

/// A noun of the target language.
#[derive(Clone, Debug)]
pub(super) struct TargetNoun {
    pub stem: String,
    pub gender: Gender,
}

/// Words of both languages, by number: word `i` of a kind means word `i` of the same kind.
#[derive(Debug)]
pub(super) struct Words {
    pub source_nouns: Vec<String>,
    /// What each noun means; the second meaning, of ambiguous nouns alone, is with a verb of the
    /// second kind.
    pub target_nouns: Vec<(TargetNoun, Option<TargetNoun>)>,
    /// Odd numbers are of the second kind. Nothing in a verb's form shows it.
    pub verbs: Vec<(String, String)>,
    pub adjectives: Vec<(String, String)>,
    pub adverbs: Vec<(String, String)>,
    pub prepositions: Vec<(String, String)>,
}

impl Words {
    pub(super) fn new() -> Self {
        let mut source = StemGenerator::new(
            "source",
            ["b", "d", "f", "g", "k", "l", "m", "p", "r", "st", "t", "w"],
            ["a", "e", "i", "o", "u", "ai"],
        );
        let mut target = StemGenerator::new(
            "target",
            ["č", "d", "gr", "h", "j", "l", "n", "pr", "s", "š", "v", "z"],
            ["a", "e", "i", "ö", "u", "ü"],
        );
        let genders = LANGUAGES.stream("bitext.toy.genders", 0, 0);
        let mut drawn = 0;
        let mut noun = || {
            drawn += 1;
            let gender =
                [Gender::First, Gender::Second, Gender::Third][genders.below(drawn, 3) as usize];
            TargetNoun { stem: target.next(), gender }
        };
        let target_nouns = (0..NOUNS).map(|i| (noun(), (i < AMBIGUOUS).then(&mut noun))).collect();
        let source_nouns = (0..NOUNS).map(|_| source.next()).collect();
        let mut pairs = |n: usize| (0..n).map(|_| (source.next(), target.next())).collect();
        let (verbs, adjectives) = (pairs(VERBS), pairs(ADJECTIVES));
        let (adverbs, prepositions) = (pairs(ADVERBS), pairs(PREPOSITIONS));
        Self { source_nouns, target_nouns, verbs, adjectives, adverbs, prepositions }
    }
}

/// Different stems of two or three syllables that end in a consonant.
struct StemGenerator {
    purpose: String,
    consonants: [&'static str; 12],
    vowels: [&'static str; 6],
    drawn: usize,
    taken: Vec<String>,
}

impl StemGenerator {
    fn new(language: &str, consonants: [&'static str; 12], vowels: [&'static str; 6]) -> Self {
        Self {
            purpose: format!("bitext.toy.{language}"),
            consonants,
            vowels,
            drawn: 0,
            taken: Vec::new(),
        }
    }

    fn next(&mut self) -> String {
        // There are 10,368 stems of two syllables alone, so a new one is soon found.
        loop {
            let stream = LANGUAGES.stream(&self.purpose, self.drawn, 0);
            self.drawn += 1;
            let syllables = 1 + stream.below(0, 2);
            let mut stem = String::new();
            for i in 0..=syllables {
                stem.push_str(self.consonants[stream.below(1 + 2 * i, 12) as usize]);
                if i < syllables {
                    stem.push_str(self.vowels[stream.below(2 + 2 * i, 6) as usize]);
                }
            }
            // Long enough to tell from the short words of the grammar.
            if stem.chars().count() >= 4 && !self.taken.contains(&stem) {
                self.taken.push(stem.clone());
                return stem;
            }
        }
    }
}
