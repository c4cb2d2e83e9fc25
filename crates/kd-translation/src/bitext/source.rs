//! Which parallel text: the choice between a directory, the hub and the generator.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::hub::Corpus;
use super::languages::Languages;
use super::pairs::BitextSplits;
use super::toy::{self, Toy};
use super::{directory, hub};
use kd_core::data::hub::{Hub, HubDataset};
use kd_core::data::{DataError, Known, Provenance};

/// What `--data` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BitextSource {
    /// A directory's text, or else Multi30k; the generator where there is no network and nothing on
    /// this machine.
    #[default]
    Auto,
    /// This corpus, or an error.
    Corpus(Corpus),
    /// The text of a directory, whatever it is.
    Directory,
    /// The generator.
    Embedded,
}

impl FromStr for BitextSource {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "auto" => Ok(Self::Auto),
            "directory" => Ok(Self::Directory),
            "embedded" => Ok(Self::Embedded),
            _ => Corpus::ALL
                .into_iter()
                .find(|corpus| corpus.name() == name)
                .map(Self::Corpus)
                .ok_or_else(|| DataError::Argument {
                    what: "data",
                    expected: "auto, multi30k, wmt16-ro-en, wmt14-de-en, directory or embedded"
                        .to_string(),
                    got: name.to_string(),
                }),
        }
    }
}

impl fmt::Display for BitextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Corpus(corpus) => corpus.name(),
            Self::Directory => "directory",
            Self::Embedded => "embedded",
        })
    }
}

/// Which text [`load`] reads, and from where.
#[derive(Clone, Debug)]
pub struct BitextRequest {
    /// Which text.
    pub source: BitextSource,
    /// A directory with the text (see [`directory::load`]) instead of the hub.
    pub dir: Option<PathBuf>,
    /// From which language to which; `None` for English to the corpus's other language, which is
    /// German for a directory. Generated text has languages of its own.
    pub languages: Option<Languages>,
    /// The most training pairs, evenly spaced over the training set; `None` for all, which for
    /// WMT14 are 1.5 GB in memory.
    pub train_limit: Option<usize>,
    /// What to generate if the text is generated; `train_limit` does not apply to it.
    pub toy: Toy,
    /// Where to look for the hub's files.
    pub hub: Hub,
    /// Whether files from the hub with other numbers of pairs than the original are an error.
    pub original: bool,
}

impl BitextRequest {
    /// A request with the environment's hub and all defaults.
    pub fn new(source: BitextSource, dir: Option<PathBuf>) -> Self {
        Self {
            source,
            dir,
            languages: None,
            train_limit: None,
            toy: Toy::default(),
            hub: Hub::from_env(),
            original: true,
        }
    }
}

/// Finds, downloads or generates parallel text. Its lines are [`sentence`](super::sentence())s; the
/// content hash of the provenance is that of the text before runs of white space became one space.
///
/// With a directory, its files. Without one, the hub's cache, then the hub. [`BitextSource::Auto`]
/// goes on to the generator where the hub cannot be reached, and says so in the note; a named
/// corpus never becomes another. Files that are there and corrupt, or a directory without the
/// files, are errors in each case.
///
/// # Errors
/// As [`directory::load`] and [`Hub::fetch`]; those of [`hub::read`] as [`DataError::Cached`];
/// [`DataError::DirectoryUnused`] for a directory together with [`BitextSource::Embedded`]; [`DataError::Argument`] for
/// [`BitextSource::Directory`] without one, for languages that the corpus does not have, for a
/// limit of 0 and for sizes that the generator does not have.
pub fn load(request: &BitextRequest) -> Result<(BitextSplits, Provenance), DataError> {
    let corpus = match request.source {
        BitextSource::Corpus(corpus) => Some(corpus),
        BitextSource::Auto | BitextSource::Directory | BitextSource::Embedded => None,
    };
    if request.train_limit == Some(0) {
        return Err(DataError::Argument {
            what: "training pairs",
            expected: "at least 1".to_string(),
            got: "0".to_string(),
        });
    }
    let languages =
        request.languages.clone().unwrap_or_else(|| corpus.unwrap_or(Corpus::Multi30k).languages());
    if let Some(dir) = &request.dir {
        if request.source == BitextSource::Embedded {
            return Err(DataError::DirectoryUnused { dir: dir.clone() });
        }
        check_languages(corpus, &languages)?;
        let mut splits = directory::load(dir, &languages)?;
        let n = [&splits.train, &splits.validation, &splits.test].map(|part| part.len() as u64);
        let known = corpus.map_or(Known::Other, |corpus| known(corpus, &languages, &splits));
        let other = corpus.filter(|_| known == Known::Other).map(|corpus| {
            let [train, validation, test] = n;
            format!(
                "{}: {train} + {validation} + {test} pairs that are not the original {}",
                dir.display(),
                corpus.title()
            )
        });
        splits.train = splits.train.evenly_spaced(request.train_limit.unwrap_or(usize::MAX));
        let found = found(&dir.display().to_string(), &languages, &splits, n[0]);
        let dataset = corpus.map_or("directory", Corpus::name);
        return Ok(with_provenance(splits, (dataset, known), found, other));
    }
    let corpus = match request.source {
        BitextSource::Embedded => return generate(&request.toy, None),
        BitextSource::Directory => {
            let expected = "a data directory with it".to_string();
            return Err(DataError::Argument {
                what: "data directory",
                expected,
                got: "none".to_string(),
            });
        }
        BitextSource::Auto => Corpus::Multi30k,
        BitextSource::Corpus(corpus) => corpus,
    };
    check_languages(Some(corpus), &languages)?;
    let known = corpus.listing();
    let listing = HubDataset { sha256: if request.original { known.sha256 } else { &[] }, ..known };
    let files = match request.hub.fetch(&listing) {
        Ok(files) => files,
        Err(e @ DataError::Unreachable { .. }) if request.source == BitextSource::Auto => {
            let note = format!(
                "{e}; using a generated language pair instead, whose results are not {}'s",
                corpus.title()
            );
            return generate(&request.toy, Some(note));
        }
        Err(e) => return Err(e),
    };
    let (splits, all) =
        hub::read(corpus, &files, &languages, request.train_limit, request.original)
            .map_err(|e| request.hub.in_cache(listing.owner, listing.name, e))?;
    let place = files.first().map(|path| path.display().to_string()).unwrap_or_default();
    let found = found(&place, &languages, &splits, all);
    // The hub's files are those that it published: they were compared before they were read.
    let known = if request.original { Known::Original } else { Known::Unchecked };
    Ok(with_provenance(splits, (corpus.name(), known), found, None))
}

/// What is known of the whole text that was read for `corpus`: its numbers of pairs, and where the
/// content of the corpus is known, that too.
fn known(corpus: Corpus, languages: &Languages, splits: &BitextSplits) -> Known {
    let n = [&splits.train, &splits.validation, &splits.test].map(|part| part.len() as u64);
    match corpus.content().filter(|_| *languages == corpus.languages()) {
        _ if n != corpus.pairs() => Known::Other,
        Some(content) if content == splits.content_hash() => Known::Original,
        Some(_) => Known::Other,
        None => Known::Unchecked,
    }
}

fn check_languages(corpus: Option<Corpus>, languages: &Languages) -> Result<(), DataError> {
    match corpus {
        Some(corpus) if !corpus.has(languages) => {
            let own = corpus.languages();
            let expected =
                format!("{} or {}-{} with {}", own, own.target(), own.source(), corpus.name());
            Err(DataError::Argument { what: "languages", expected, got: languages.to_string() })
        }
        _ => Ok(()),
    }
}

/// Where the text is, which way it goes, and how much of the training set's `all` pairs are used.
fn found(place: &str, languages: &Languages, splits: &BitextSplits, all: u64) -> String {
    match splits.train.len() as u64 {
        n if n < all => format!("{place} ({languages}; {n} of {all} training pairs)"),
        _ => format!("{place} ({languages})"),
    }
}

fn generate(what: &Toy, note: Option<String>) -> Result<(BitextSplits, Provenance), DataError> {
    let splits = toy::generate(what)?;
    let Toy { train, validation, test, seed } = what;
    let found = format!("generated: {train} + {validation} + {test} pairs, seed {seed}");
    Ok(with_provenance(splits, ("embedded", Known::Generated), found, note))
}

fn with_provenance(
    splits: BitextSplits,
    (dataset, known): (&'static str, Known),
    found: String,
    note: Option<String>,
) -> (BitextSplits, Provenance) {
    // What a corpus is called follows from its text as it stands in the files.
    let content = splits.content_hash();
    (splits.tidied(), Provenance { dataset, known, found, note, content })
}
