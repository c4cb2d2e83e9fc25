//! Sentence pairs as JSON lines: one object a line, with the sentences under the languages' codes.

use std::path::Path;

use serde_json::{Map, Value};

use super::languages::Languages;
use super::lines::{Lines, empty_line};
use super::pairs::Bitext;
use super::sentence::trimmed;
use kd_core::data::DataError;

/// Reads a file such as `{"en": "A dog.", "de": "Ein Hund."}` a line; `.gz` is decoded. Sentences
/// are trimmed, line breaks in them become spaces, other fields are ignored, and `empty` says
/// whether empty sentences are accepted.
///
/// # Errors
/// [`DataError::Line`] with the number of the first line that is no such object, is too long or
/// holds an empty sentence; [`DataError::Count`] for a file without lines; [`DataError::Gzip`],
/// [`DataError::Io`].
pub fn read(path: &Path, languages: &Languages, empty: bool) -> Result<Bitext, DataError> {
    let mut lines = Lines::open(path)?;
    let mut pairs = Bitext::default();
    while let Some(line) = lines.next() {
        let line = line?;
        let fault = |got: String| {
            let expected = format!(
                "a JSON object with the strings {:?} and {:?}",
                languages.source(),
                languages.target()
            );
            DataError::Line { path: path.to_path_buf(), line: lines.number(), expected, got }
        };
        if line.is_empty() {
            return Err(fault("an empty line".to_string()));
        }
        let object: Map<String, Value> =
            serde_json::from_str(&line).map_err(|e| fault(kd_base::message::with_causes(&e)))?;
        let get = |code: &str| match object.get(code) {
            Some(Value::String(text)) => Ok(one_line(text)),
            Some(_) => Err(fault(format!("something else under {code:?}"))),
            None => Err(fault(format!("no {code:?}"))),
        };
        let (source, target) = (get(languages.source())?, get(languages.target())?);
        if !empty && (source.is_empty() || target.is_empty()) {
            return Err(empty_line(path, lines.number()));
        }
        pairs.push(source, target);
    }
    if pairs.is_empty() {
        return Err(DataError::Count {
            path: path.to_path_buf(),
            what: "lines",
            max: u64::from(u32::MAX),
            got: 0,
        });
    }
    Ok(pairs)
}

/// A sentence of a format that could hold line breaks, trimmed.
pub(super) fn one_line(text: &str) -> String {
    trimmed(text).replace(['\n', '\r'], " ")
}
