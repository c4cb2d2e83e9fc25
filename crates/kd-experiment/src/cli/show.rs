//! `show CELL`: what a cell is, what came of it, and its curves.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::application::Application;
use super::epochs::{self, Curve};
use super::named_cell::named_cell;
use super::output::output_error;
use crate::duration::duration;
use crate::number::significant;
use crate::result::CellResult;
use crate::{CellState, Error, Paper, Result, Store, pretty};

/// Columns of a curve in the terminal.
const WIDTH: usize = 60;
/// Fewest digits of a cell's name that are taken for it.
const FEWEST_DIGITS: usize = 4;

/// Prints the cell that `name` means: TABLE/ROW[#SEED] at the chosen preset, or the name of a folder
/// of the run store, or its first digits.
///
/// # Errors
/// Bad input when the name means no cell or several, or a file of the cell is damaged.
pub(super) fn run<P: Paper>(
    name: &str,
    application: &Application<P>,
    out: &mut dyn Write,
) -> Result<()> {
    let root = application.options.runs_dir.join(application.name());
    let (dir, state, spec) = match by_digits(name, &root)? {
        Some(dir) => {
            let spec = read(&dir.join("spec.toml"))?.unwrap_or_default();
            (dir, None, spec)
        }
        None => {
            let (_, cell) = named_cell(name, application)?;
            let store = Store::new(&application.options.runs_dir, application.name());
            let spec = toml::to_string(&cell.identity())
                .map_err(|error| Error::failure(format!("{}: {error}", cell.label())))?;
            (store.dir(&cell), Some(store.state(&cell)?), spec)
        }
    };
    let mut text = format!("{}\n", dir.display());
    if let Some(state) = state {
        text.push_str(&format!("state: {}\n", state.name()));
    }
    text.push_str(&format!("\n{}\n", spec.trim_end()));
    if let Some(json) = read(&dir.join("result.json"))? {
        let result = serde_json::from_str(&json).map_err(|error| Error::Corrupt {
            file: dir.join("result.json"),
            dir: dir.clone(),
            problem: format!("not a result ({error})"),
        })?;
        text.push_str(&described(&result));
    } else if state.is_none_or(|state| state == CellState::Partial) {
        text.push_str("\nnot finished\n");
    }
    text.push_str(&files(&dir)?);
    if let Some(table) = read(&dir.join("epochs.csv"))? {
        text.push_str(&curves(&table));
    }
    out.write_all(text.as_bytes()).map_err(output_error)
}

/// The folder whose name begins with these hexadecimal digits; none where `name` is no such digits
/// or there is no such folder.
fn by_digits(name: &str, root: &Path) -> Result<Option<PathBuf>> {
    let digits = name.len() >= FEWEST_DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit());
    if !digits || !root.is_dir() {
        return Ok(None);
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root).map_err(Error::io("read", root))? {
        let entry = entry.map_err(Error::io("read", root))?;
        if entry.file_name().to_string_lossy().starts_with(name) {
            found.push(entry.path());
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        several => Err(Error::bad_input(format!(
            "{name}: expected the name of one cell, got the first digits of {several}"
        ))),
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// The metrics of a result, and how they came about.
fn described(result: &CellResult) -> String {
    let header = ["metric", "value"].map(str::to_owned).to_vec();
    let metrics =
        result.metrics.iter().map(|(name, value)| vec![name.clone(), significant(*value, 6)]);
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(metrics).collect();
    format!(
        "\n{}{} epochs, {} on {}, commit {}\n",
        pretty::align(&rows),
        result.epochs,
        duration(result.seconds),
        result.device,
        result.commit
    )
}

/// The files of a folder with their sizes.
fn files(dir: &Path) -> Result<String> {
    if !dir.is_dir() {
        return Ok(String::new());
    }
    let mut rows = vec![vec!["file".to_owned(), "bytes".to_owned()]];
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let data = entry.metadata().map_err(Error::io("read", &entry.path()))?;
        // A lock is a folder.
        if data.is_file() {
            rows.push(vec![name, data.len().to_string()]);
        }
    }
    rows[1..].sort();
    Ok(format!("\n{}", pretty::align(&rows)))
}

/// Each column of a table of epochs as a line of bars over its own range, with its ends.
fn curves(table: &str) -> String {
    let mut rows = vec![["", "first", "last", "least", "most"].map(str::to_owned).to_vec()];
    let mut drawn = Vec::new();
    for Curve { name, points } in epochs::curves(table) {
        let values: Vec<f64> = points.into_iter().map(|(_, value)| value).collect();
        let (Some(first), Some(last)) = (values.first(), values.last()) else { continue };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let numbers = [*first, *last, least, most].map(|value| significant(value, 4));
        rows.push([name].into_iter().chain(numbers).collect());
        drawn.push(curve(&values));
    }
    if drawn.is_empty() {
        return String::new();
    }
    let aligned = pretty::align(&rows);
    let mut text = "\n".to_owned();
    let curves = std::iter::once(String::new()).chain(drawn);
    for (line, curve) in aligned.lines().zip(curves) {
        text.push_str(format!("{line}  {curve}").trim_end());
        text.push('\n');
    }
    text
}

/// Numbers as a line of at most [`WIDTH`] bars, each the mean of those that it stands for.
fn curve(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = values.len().min(WIDTH);
    let means: Vec<f64> = (0..columns)
        .map(|column| {
            let part = column * values.len() / columns..(column + 1) * values.len() / columns;
            let part = &values[part];
            part.iter().sum::<f64>() / part.len() as f64
        })
        .collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let height = |mean: &f64| {
        if most > least { ((mean - least) / (most - least) * 7.).round() as usize } else { 0 }
    };
    means.iter().map(|mean| BARS[height(mean).min(7)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_from_its_least_to_its_most_in_at_most_sixty_columns() {
        assert_eq!(curve(&[0., 1., 2., 3., 4., 5., 6., 7.]), "▁▂▃▄▅▆▇█");
        assert_eq!(curve(&[2., 2.]), "▁▁");
        let long: Vec<f64> = (0..240).map(f64::from).collect();
        assert_eq!(curve(&long).chars().count(), WIDTH);
        assert!(curve(&long).starts_with('▁') && curve(&long).ends_with('█'));
        assert_eq!(curve(&[]), "");
    }

    #[test]
    fn each_column_but_the_first_is_drawn_with_its_ends_and_its_range() {
        let text = curves("epoch,loss,accuracy\n1,4,10\n2,2,\n3,1,30\n");
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with("loss") && lines[1].ends_with("█▃▁"), "{text}");
        assert!(lines[2].starts_with("accuracy") && lines[2].ends_with("▁█"), "{text}");
        assert_eq!(curves(""), "");
    }
}
