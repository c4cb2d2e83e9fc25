//! Translations in files, one a line.

use std::path::Path;

use kd_base::message::count;
use kd_core::{Error, Result};
use kd_translation::bitext::MAX_LINE;

/// The translations in the cell's folder, one a line.
pub const FILE: &str = "train.translations.txt";

/// Lines as the text of a file.
pub fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The translations in the folder of a finished cell, for a text of so many pairs.
///
/// # Errors
/// Bad input when there are not as many.
pub fn read(dir: &Path, expected: usize) -> Result<Vec<String>> {
    lines(&dir.join(FILE), expected)
}

/// The lines of a file of translations, of which there have to be so many.
///
/// # Errors
/// Bad input when there are not as many, or one is too long.
pub fn lines(path: &Path, expected: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let lines: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
    if let Some(i) = lines.iter().position(|line| line.len() > MAX_LINE) {
        return Err(Error::bad_input(format!(
            "{}: line {}: expected at most {MAX_LINE} bytes",
            path.display(),
            i + 1
        )));
    }
    if lines.len() == expected {
        Ok(lines)
    } else {
        Err(Error::bad_input(format!(
            "{}: expected {}, got {}",
            path.display(),
            count(expected, "line"),
            lines.len()
        )))
    }
}

/// Bad input when a text has lines that a file cannot hold one a line.
pub fn one_line(line: &str) -> Result<()> {
    if line.contains(['\n', '\r']) {
        return Err(Error::bad_input("a translation holds a line end: expected one line"));
    }
    Ok(())
}
