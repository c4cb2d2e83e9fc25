//! Parallel text from a directory.

use std::path::{Path, PathBuf};

use super::jsonl;
use super::languages::Languages;
use super::lines;
use super::pairs::{Bitext, BitextSplits};
use kd_core::data::DataError;

/// Names that the three parts go by.
const PARTS: [&[&str]; 3] = [&["train"], &["valid", "val", "dev"], &["test"]];

/// Reads a directory's text from `languages.source()` to `languages.target()`.
///
/// For each part there is a pair of files with one sentence a line, named by the part and the
/// language, such as `train.en` and `train.de`; or one file of JSON lines, such as `train.jsonl`
/// (see [`jsonl::read`]). Parts are called `train`; `valid`, `val` or `dev`; and `test`.
/// Any file may be gzipped, with `.gz` behind its name. Pairs are preferred to JSON lines, plain
/// files to gzipped ones. A test set with several references has `test.de0`, `test.de1`, … in place
/// of, or beside, `test.de`, without a gap. Sentences are trimmed.
///
/// Empty lines are errors, except in the training set, where [`super::LengthLimits::clean`] leaves
/// them out and counts them.
///
/// # Errors
/// [`DataError::MissingFiles`]; [`DataError::LineCount`] where the files of a pair differ in
/// length; otherwise what is wrong with the first bad file and line: [`DataError::Line`],
/// [`DataError::Count`], [`DataError::Gzip`] or [`DataError::Io`].
pub fn load(dir: &Path, languages: &Languages) -> Result<BitextSplits, DataError> {
    let parts = PARTS.map(|names| find(dir, names, languages));
    let absent = |names: &&[&str], code: &str| {
        !names.iter().any(|name| file(dir, &format!("{name}.{code}")).is_some())
    };
    let missing: Vec<String> = PARTS
        .iter()
        .zip(&parts)
        .filter(|(_, found)| found.is_none())
        .flat_map(|(names, _)| {
            let codes = [languages.source(), languages.target()];
            // Both are named where both are there under names that do not belong together.
            let whole = codes.iter().all(|code| !absent(names, code));
            codes
                .into_iter()
                .filter(move |code| whole || absent(names, code))
                .map(|code| format!("{}.{code}", names[0]))
        })
        .collect();
    let [Some(train), Some(validation), Some(test)] = parts else {
        let places =
            "one sentence a line, or .jsonl for both; plain or .gz; valid may be called val or dev";
        return Err(DataError::MissingFiles {
            dataset: "parallel text",
            dir: dir.to_path_buf(),
            missing: missing.join(", "),
            places,
        });
    };
    let (test, more_references) = read(&test, languages, false)?;
    Ok(BitextSplits {
        train: read(&train, languages, true)?.0,
        validation: read(&validation, languages, false)?.0,
        test,
        more_references,
    })
}

/// The files of one part.
enum Part {
    /// The source, and one or more translations.
    Text(PathBuf, Vec<PathBuf>),
    /// Both in one.
    Json(PathBuf),
}

/// The file of this name, or gzipped.
fn file(dir: &Path, name: &str) -> Option<PathBuf> {
    [dir.join(name), dir.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

fn find(dir: &Path, names: &[&str], languages: &Languages) -> Option<Part> {
    let file = |name: String| file(dir, &name);
    let text = |name: &&str| {
        let source = file(format!("{name}.{}", languages.source()))?;
        let plain = file(format!("{name}.{}", languages.target()));
        // Only test sets have several references; a numbered one alone is none in other parts.
        let numbered = (0..).map_while(|i| {
            file(format!("{name}.{}{i}", languages.target())).filter(|_| *name == "test")
        });
        let targets: Vec<PathBuf> = plain.into_iter().chain(numbered).collect();
        (!targets.is_empty()).then_some(Part::Text(source, targets))
    };
    names
        .iter()
        .find_map(text)
        .or_else(|| names.iter().find_map(|name| file(format!("{name}.jsonl")).map(Part::Json)))
}

/// A part's pairs and its further references.
fn read(
    part: &Part,
    languages: &Languages,
    empty: bool,
) -> Result<(Bitext, Vec<Vec<String>>), DataError> {
    let (source_path, target_paths) = match part {
        Part::Json(path) => return Ok((jsonl::read(path, languages, empty)?, Vec::new())),
        Part::Text(source, targets) => (source, targets),
    };
    let source = lines::read(source_path, empty)?;
    let target = |path: &PathBuf| {
        let lines = lines::read(path, empty)?;
        if lines.len() != source.len() {
            let (expected, got) = (source.len(), lines.len());
            return Err(DataError::LineCount {
                path: path.clone(),
                other: source_path.clone(),
                expected,
                got,
            });
        }
        Ok(lines)
    };
    let mut targets =
        target_paths.iter().map(target).collect::<Result<Vec<_>, DataError>>()?.into_iter();
    let first = targets.next().unwrap_or_default();
    Ok((Bitext { source, target: first }, targets.collect()))
}
