//! Parallel text on the hub: Multi30k (Elliott et al. 2016) and the translation tasks of WMT that
//! the papers use.

use std::path::{Path, PathBuf};

use super::jsonl;
use super::languages::Languages;
use super::pairs::{Bitext, BitextSplits};
use super::translations::Translations;
use kd_core::data::DataError;
use kd_core::data::hub::{CONVERSIONS, HubDataset, MAIN};

/// A corpus by its name. All of them can be translated either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corpus {
    /// Captions of images in English and German: 29,000 + 1,014 + 1,000 pairs.
    Multi30k,
    /// English and Romanian of WMT16: 610,320 + 1,999 + 1,999 pairs.
    Wmt16RoEn,
    /// English and German of WMT14: 4,508,785 + 3,000 + 3,003 pairs.
    Wmt14DeEn,
}

impl Corpus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Multi30k, Self::Wmt16RoEn, Self::Wmt14DeEn];

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Multi30k => "Multi30k",
            Self::Wmt16RoEn => "WMT16 Ro-En",
            Self::Wmt14DeEn => "WMT14 De-En",
        }
    }

    /// As commands and folders write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Multi30k => "multi30k",
            Self::Wmt16RoEn => "wmt16-ro-en",
            Self::Wmt14DeEn => "wmt14-de-en",
        }
    }

    /// From English, as in the papers.
    pub fn languages(self) -> Languages {
        let target = match self {
            Self::Multi30k | Self::Wmt14DeEn => "de",
            Self::Wmt16RoEn => "ro",
        };
        Languages { source: "en".to_string(), target: target.to_string() }
    }

    /// Its files: the training set in one or more, the validation set, the test set.
    pub fn listing(self) -> HubDataset {
        let (owner, name, revision, files, sha256): (_, _, _, &[&str], &[&str]) = match self {
            Self::Multi30k => (
                "bentrevett",
                "multi30k",
                MAIN,
                &["train.jsonl", "val.jsonl", "test.jsonl"],
                // Of commit 2d410f1cfa7e48602888c28b9a2e0dc83b114d31.
                &[
                    "4a7268d73a573432bf378f1cf6824bc7544439ad24337504a139bc42b470821c",
                    "f66192595cc7bd056841b7660453e0750092d08db19daf4951cd3bc85e2d7447",
                    "d640a52bb3e60638f3d483bd7e8098117a012c16daa4d81c44e1fd167ea2a884",
                ],
            ),
            Self::Wmt16RoEn => (
                "wmt",
                "wmt16",
                CONVERSIONS,
                &[
                    "ro-en/train/0000.parquet",
                    "ro-en/validation/0000.parquet",
                    "ro-en/test/0000.parquet",
                ],
                &[],
            ),
            Self::Wmt14DeEn => (
                "wmt",
                "wmt14",
                CONVERSIONS,
                &[
                    "de-en/train/0000.parquet",
                    "de-en/train/0001.parquet",
                    "de-en/train/0002.parquet",
                    "de-en/validation/0000.parquet",
                    "de-en/test/0000.parquet",
                ],
                &[],
            ),
        };
        HubDataset { owner, name, revision, files: files.to_vec(), sha256 }
    }

    /// Numbers of pairs of the original: training, validation, test.
    pub fn pairs(self) -> [u64; 3] {
        match self {
            Self::Multi30k => [29_000, 1_014, 1_000],
            Self::Wmt16RoEn => [610_320, 1_999, 1_999],
            Self::Wmt14DeEn => [4_508_785, 3_000, 3_003],
        }
    }

    /// The content hash of the original in its own order of languages, where we know it. Results
    /// are named by it.
    pub fn content(self) -> Option<&'static str> {
        match self {
            Self::Multi30k => Some("75d825008c38a1bf"),
            Self::Wmt16RoEn | Self::Wmt14DeEn => None,
        }
    }

    /// Whether these are its two languages, in either order.
    pub fn has(self, languages: &Languages) -> bool {
        let own = self.languages();
        let same = |a: &str, b: &str| (languages.source(), languages.target()) == (a, b);
        same(own.source(), own.target()) || same(own.target(), own.source())
    }
}

/// Reads the files of [`Corpus::listing`], of the training set `train_limit` evenly spaced pairs.
/// Tables are streamed: memory holds the pairs that are kept and a page of each column. Returned
/// with the number of pairs of the whole training set. `original` says whether other numbers of
/// pairs than [`Corpus::pairs`] are an error.
///
/// # Errors
/// As [`jsonl::read`] and [`Translations`]; [`DataError::Corpus`] where the numbers are not the
/// original's; [`DataError::Line`] or [`DataError::Translations`] for an empty sentence in the
/// validation or test set; [`DataError::Length`] unless there is a file for each of the listing's.
pub fn read(
    corpus: Corpus,
    files: &[PathBuf],
    languages: &Languages,
    train_limit: Option<usize>,
    original: bool,
) -> Result<(BitextSplits, u64), DataError> {
    let [train_files @ .., validation, test] = files else {
        return Err(DataError::Length {
            what: "files of a corpus",
            expected: corpus.listing().files.len(),
            got: files.len(),
        });
    };
    let (train, n) = match corpus {
        Corpus::Multi30k => {
            let parts = train_files
                .iter()
                .map(|path| jsonl::read(path, languages, true))
                .collect::<Result<Vec<_>, _>>()?;
            let all: Bitext =
                parts.into_iter().flat_map(|p| p.source.into_iter().zip(p.target)).collect();
            let n = all.len() as u64;
            (all.evenly_spaced(train_limit.unwrap_or(usize::MAX)), n)
        }
        Corpus::Wmt16RoEn | Corpus::Wmt14DeEn => {
            let pairs = Translations::open(train_files, languages)?;
            let n = pairs.total();
            if original && n != corpus.pairs()[0] {
                // Before minutes are spent on reading.
                return Err(other(corpus, train_files.first(), n, 0));
            }
            (pairs.evenly_spaced(train_limit.unwrap_or(usize::MAX))?, n)
        }
    };
    let small = |path: &PathBuf| match corpus {
        Corpus::Multi30k => jsonl::read(path, languages, false),
        Corpus::Wmt16RoEn | Corpus::Wmt14DeEn => whole(path, languages),
    };
    let splits = BitextSplits {
        train,
        validation: small(validation)?,
        test: small(test)?,
        more_references: Vec::new(),
    };
    let got = [n, splits.validation.len() as u64, splits.test.len() as u64];
    match (0..3).find(|&i| original && got[i] != corpus.pairs()[i]) {
        Some(i) => {
            Err(other(corpus, [train_files.first(), Some(validation), Some(test)][i], got[i], i))
        }
        None => Ok((splits, n)),
    }
}

fn other(corpus: Corpus, path: Option<&PathBuf>, got: u64, part: usize) -> DataError {
    let found = path.map(|path| path.display().to_string()).unwrap_or_default();
    let expected = format!("{} pairs", corpus.pairs()[part]);
    DataError::Corpus { dataset: corpus.title(), found, expected, got: got.to_string() }
}

/// A table without empty sentences.
fn whole(path: &Path, languages: &Languages) -> Result<Bitext, DataError> {
    let pairs = Translations::open(&[path.to_path_buf()], languages)?.evenly_spaced(usize::MAX)?;
    let empty = pairs.pairs().position(|(source, target)| source.is_empty() || target.is_empty());
    match empty {
        Some(row) => {
            let reason = format!("row {row}: an empty sentence in a set to be scored");
            Err(DataError::Translations { path: path.to_path_buf(), reason })
        }
        None => Ok(pairs),
    }
}
