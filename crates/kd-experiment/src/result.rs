//! What a finished cell leaves behind.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// The result of a cell, as it stands in `result.json`. All numbers are finite.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// Single numbers by key; an experiment file says which key fills which line of a table.
    pub metrics: BTreeMap<String, f64>,
    /// Curves and the like, by name.
    pub series: BTreeMap<String, Series>,
    /// Epochs of training; 0 where nothing was trained.
    pub epochs: u64,
    /// Seconds of work. Where a paper leaves it at 0, the executor fills in the time since it
    /// entered the cell (a cell that was killed and continued counts from its last start).
    pub seconds: f64,
    /// What it was computed on, for instance `cpu`.
    pub device: String,
    /// The commit of the working directory; filled in by the executor where empty.
    pub commit: String,
    /// The SHA-256 of each file that the cell leaves to others, by name; filled in by the executor.
    /// Results of earlier versions have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// A small table of numbers inside a result, for instance one row for each epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<f64>>,
}

impl CellResult {
    /// A result with these metrics, each number under the name in its place, and nothing else yet.
    pub fn of<const N: usize>(names: [&str; N], numbers: [f64; N]) -> Self {
        Self {
            metrics: names.map(str::to_owned).into_iter().zip(numbers).collect(),
            ..Self::default()
        }
    }

    /// The first thing that keeps this result from being stored: a number that is not finite, or a
    /// series row of the wrong length.
    pub fn problem(&self) -> Option<String> {
        for (key, value) in self
            .metrics
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .chain([("seconds", self.seconds)])
        {
            if !value.is_finite() {
                return Some(format!("metric `{key}`: expected a finite number, got {value}"));
            }
        }
        for (name, series) in &self.series {
            for (index, row) in series.rows.iter().enumerate() {
                if row.len() != series.columns.len() {
                    return Some(format!(
                        "series `{name}` row {index}: expected {} numbers, got {}",
                        series.columns.len(),
                        row.len()
                    ));
                }
                if let Some(value) = row.iter().find(|value| !value.is_finite()) {
                    return Some(format!(
                        "series `{name}` row {index}: expected finite numbers, got {value}"
                    ));
                }
            }
        }
        None
    }
}

/// `git rev-parse --short HEAD` in the working directory, with `-dirty` where tracked files differ
/// from it; `unknown` where there is no repository or no git. The folder `results` does not count:
/// it is written by the runs themselves.
pub fn current_commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]).filter(|commit| !commit.is_empty())
    else {
        return "unknown".to_string();
    };
    match git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":/",
        ":(top,exclude)results",
    ]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}-dirty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_and_ragged_series_are_found() {
        let mut result = CellResult::default();
        assert_eq!(result.problem(), None);
        result.metrics.insert("loss".into(), f64::NAN);
        assert!(result.problem().unwrap().contains("loss"));
        result.metrics.clear();
        result.series.insert(
            "curve".into(),
            Series { columns: vec!["a".into()], rows: vec![vec![1.0], vec![1.0, 2.0]] },
        );
        assert!(result.problem().unwrap().contains("row 1"));
    }
}
