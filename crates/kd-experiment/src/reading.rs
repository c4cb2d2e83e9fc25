//! Tables of an experiment file as values of a type, and what is said where they are not.

use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::cell::canonical;
use super::error::{Error, Result};
use kd_base::message::one_line;
use kd_base::nearest;

/// Reads a whole file.
///
/// # Errors
/// One line with the file, its line, the key, what was expected and what was found.
pub(crate) fn read_text<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    toml::Deserializer::parse(text)
        .map_err(|error| (one_line(&error.message()), error.span()))
        .and_then(|text| read(text, ""))
        .map_err(|(message, span)| {
            Error::file(format!("{file}:{}", line(text, span.map_or(0, |s| s.start))), message)
        })
}

/// Reads the table at `at` of `file`.
///
/// # Errors
/// One line with the file, the key, what was expected and what was found.
pub(crate) fn read_table<T: DeserializeOwned>(file: &str, at: &str, table: Table) -> Result<T> {
    read(Value::Table(table), at).map_err(|(message, _)| Error::file(file, message))
}

/// The line, from 1, of a place in a text.
pub(crate) fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The message of a value of the wrong type.
pub(crate) fn expected(expected: &str, got: &Value) -> String {
    format!("expected {expected}, got {} `{}`", got.type_str(), canonical(got))
}

type Span = Option<std::ops::Range<usize>>;

fn read<'de, T: DeserializeOwned>(
    from: impl Deserializer<'de, Error = toml::de::Error>,
    at: &str,
) -> Result<T, (String, Span)> {
    serde_path_to_error::deserialize(from).map_err(|error| {
        let mut path = at.to_owned();
        for segment in error.path() {
            match segment {
                // `Spanned` is read as a struct with fields of such names.
                Segment::Map { key } if !key.starts_with("$__") => path = joined(&path, key),
                Segment::Seq { index } => path += &format!("[{index}]"),
                _ => {}
            }
        }
        (said(path, error.inner().message()), error.inner().span())
    })
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Serde's message about the value at a path, in the words of the other messages.
fn said(path: String, message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let mut name = || names.next().unwrap_or_default();
    if message.starts_with("missing field") {
        return format!("{}: missing", joined(&path, name()));
    }
    if message.starts_with("unknown field") {
        let name = name();
        // The path of a key of the wrong name ends with it, except within a value that was read
        // before its type was known.
        let ends = path == name || path.ends_with(&format!(".{name}"));
        let key = if ends { path } else { joined(&path, name) };
        return format!("unknown key `{key}`{}", nearest::hint(name, names));
    }
    if message.starts_with("unknown variant") {
        let name = name();
        return format!("{path}: no `{name}`{}", nearest::hint(name, names));
    }
    let of_type = message.strip_prefix("invalid type: ");
    match of_type.and_then(|rest| rest.split_once(", expected ")) {
        Some((got, expected)) => {
            format!("{path}: expected {}, got {}", in_toml(expected), in_toml(got))
        }
        None => format!("{path}: {message}"),
    }
}

/// Serde's name of a type as TOML calls it.
fn in_toml(name: &str) -> &str {
    match name {
        "sequence" => "array",
        "a sequence" => "an array",
        "map" => "table",
        "a map" => "a table",
        _ if name.starts_with("struct ") => "a table",
        _ => name,
    }
}
