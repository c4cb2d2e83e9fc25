//! Tables: a pure function of finished cells and published numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cell::CellId;
use super::error::{Error, Result};
use super::finished::Finished;
use super::metric::{FIXED_COLUMNS, Metric};
use super::number::{six_digits, tenths};
use super::plan::{Line, Plan, TablePlan};
use super::preset::Preset;
use super::reference::{Reference, References};
use super::store::Store;
use kd_base::atomic;

/// A derived table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What was planned: name, title, preset, data set, key columns.
    pub plan: TablePlan,
    /// The lines, in the plan's order; one without any finished cell is left out.
    pub lines: Vec<TableLine>,
    /// The finished cells by name: their series make the curves.
    pub cells: BTreeMap<CellId, Finished>,
}

/// One line of a derived table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableLine {
    /// The row.
    pub row: String,
    /// Key columns and values.
    pub keys: Vec<(String, String)>,
    /// Metric and unit.
    pub metric: Metric,
    /// Mean over the finished seeds.
    pub mean: f64,
    /// Sample standard deviation over the finished seeds, with n-1 in the denominator; none where
    /// n = 1.
    pub std: Option<f64>,
    /// Finished seeds.
    pub n: usize,
    /// The published number.
    pub reference: Option<Reference>,
    /// The finished cells, in the order of their seeds.
    pub cells: Vec<CellId>,
}

/// How many cells of a table are finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completeness {
    /// Finished cells.
    pub finished: usize,
    /// Cells that the table's lines name.
    pub cells: usize,
}

impl Completeness {
    /// True where nothing is missing.
    pub fn is_complete(self) -> bool {
        self.finished == self.cells
    }
}

/// Reads the finished cells of a table from the store, and counts what is there and what is wanted.
pub fn collect(
    store: &Store,
    plan: &Plan,
    table: &TablePlan,
) -> Result<(BTreeMap<CellId, Finished>, Completeness)> {
    let mut finished = BTreeMap::new();
    let mut wanted: Vec<&CellId> = table.lines.iter().flat_map(|line| &line.cells).collect();
    wanted.sort();
    wanted.dedup();
    for cell in wanted.iter().filter_map(|id| plan.cell(id)) {
        if let Some(result) = store.result(cell)? {
            finished.insert(
                cell.id.clone(),
                Finished { cell: cell.clone(), dir: store.dir(cell), result },
            );
        }
    }
    let completeness = Completeness { finished: finished.len(), cells: wanted.len() };
    Ok((finished, completeness))
}

/// Derives a table from the cells that are finished. Unfinished cells are left out of the means,
/// and `n` counts the finished ones.
///
/// Errors: a result without the number that the experiment file asks for.
pub fn derive(
    table: &TablePlan,
    finished: BTreeMap<CellId, Finished>,
    references: &References,
) -> Result<Table> {
    references.check(table)?;
    let mut lines = Vec::new();
    for line in &table.lines {
        let cells: Vec<&Finished> = line.cells.iter().filter_map(|id| finished.get(id)).collect();
        if cells.is_empty() {
            continue;
        }
        let values =
            cells.iter().map(|cell| value(table, line, cell)).collect::<Result<Vec<f64>>>()?;
        let (mean, std) = mean_and_std(&values);
        lines.push(TableLine {
            row: line.row.clone(),
            keys: line.keys.clone(),
            metric: line.metric.clone(),
            mean,
            std,
            n: values.len(),
            reference: references.find(&table.name, line).cloned(),
            cells: cells.iter().map(|finished| finished.cell.id.clone()).collect(),
        });
    }
    Ok(Table { plan: table.clone(), lines, cells: finished })
}

fn value(table: &TablePlan, line: &Line, finished: &Finished) -> Result<f64> {
    let metrics = &finished.result.metrics;
    metrics
        .get(&line.key)
        .copied()
        .ok_or_else(|| table.no_metric(line, &finished.cell, metrics.keys().map(String::as_str)))
}

/// Mean and sample standard deviation (n-1; none for one value). `values` is not empty.
pub(crate) fn mean_and_std(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.len() > 1).then(|| {
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    });
    (mean, std)
}

impl Table {
    /// The value of a key column in a line; empty where the line's row has no such grid.
    pub fn key<'a>(&self, line: &'a TableLine, column: &str) -> &'a str {
        line.keys.iter().find(|(name, _)| name == column).map_or("", |(_, value)| value)
    }

    /// The cells of a line.
    pub fn cells_of<'a>(&'a self, line: &'a TableLine) -> impl Iterator<Item = &'a Finished> {
        line.cells.iter().filter_map(|id| self.cells.get(id))
    }

    /// The folder of the table's files: `<out>/<paper>/<dataset>-<preset>`.
    pub fn dir(out: &Path, paper: &str, dataset: &str, preset: Preset) -> PathBuf {
        out.join(paper).join(format!("{dataset}-{preset}"))
    }

    /// The tidy CSV: `row,<key columns>,metric,unit,mean,...`, one line for each row and metric.
    /// Numbers have 6 significant digits, `seconds` is the mean over the cells rounded to a
    /// tenth, `device`, `commit` and `epochs` list the distinct values. The same cells give the
    /// same bytes.
    pub fn to_csv(&self) -> Result<String> {
        let failed = |error: csv::Error| {
            Error::file(&self.plan.file, format!("the table cannot be written as CSV: {error}"))
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let keys = self.plan.columns.iter().map(String::as_str);
        let header: Vec<&str> = FIXED_COLUMNS[..1]
            .iter()
            .copied()
            .chain(keys)
            .chain(FIXED_COLUMNS[1..].iter().copied())
            .collect();
        writer.write_record(&header).map_err(failed)?;
        for line in &self.lines {
            let cells: Vec<&Finished> = self.cells_of(line).collect();
            let distinct = |values: Vec<String>| {
                let mut seen: Vec<String> = Vec::new();
                for value in values {
                    if !seen.contains(&value) {
                        seen.push(value);
                    }
                }
                seen.join(";")
            };
            let seconds: Vec<f64> = cells.iter().map(|cell| cell.result.seconds).collect();
            let mut record = vec![line.row.clone()];
            record
                .extend(self.plan.columns.iter().map(|column| self.key(line, column).to_string()));
            record.extend([
                line.metric.name.clone(),
                line.metric.unit.clone(),
                six_digits(line.mean),
                line.std.map(six_digits).unwrap_or_default(),
                line.n.to_string(),
                line.reference
                    .as_ref()
                    .map(|reference| six_digits(reference.value))
                    .unwrap_or_default(),
                line.reference
                    .as_ref()
                    .map(|reference| reference.kind.to_string())
                    .unwrap_or_default(),
                self.plan.dataset.clone(),
                self.plan.preset.to_string(),
                distinct(cells.iter().map(|cell| cell.result.epochs.to_string()).collect()),
                distinct(cells.iter().map(|cell| cell.result.device.clone()).collect()),
                tenths(mean_and_std(&seconds).0),
                distinct(cells.iter().map(|cell| cell.result.commit.clone()).collect()),
                distinct(cells.iter().map(|cell| cell.cell.id.to_string()).collect()),
            ]);
            writer.write_record(&record).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(|error| failed(error.into_error().into()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes the CSV as `<dir>/<table>.csv`, creating the folder, and returns its path. Identical
    /// content is not rewritten; a file there that is none of our tables is never overwritten.
    pub fn write_csv(&self, dir: &Path) -> Result<PathBuf> {
        let csv = self.to_csv()?;
        atomic::create_dir(dir)?;
        let path = Self::check_place(dir, &self.plan.name)?;
        atomic::sweep(dir)?;
        atomic::write_if_changed(&path, csv.as_bytes())?;
        Ok(path)
    }

    /// The path of the CSV of the table called `name` in `dir`.
    ///
    /// # Errors
    /// Bad input where a file is there that is none of our tables, or cannot be read.
    pub fn check_place(dir: &Path, name: &str) -> Result<PathBuf> {
        let path = dir.join(format!("{name}.csv"));
        if path.exists() {
            let old = fs::read(&path).map_err(Error::io("read", &path))?;
            let old = String::from_utf8_lossy(&old);
            let first = old.lines().next().unwrap_or_default();
            if !is_our_header(first) {
                let message = format!(
                    "expected one of our tables (row,..,metric,..,cells), found the header `{first}`; move the file away"
                );
                return Err(Error::file(path.display().to_string(), message));
            }
        }
        Ok(path)
    }
}

/// Key columns come and go with the experiment file, so a table is ours if the fixed columns stand
/// around them.
fn is_our_header(line: &str) -> bool {
    let fixed = FIXED_COLUMNS[1..].join(",");
    line.starts_with("row,") && line.ends_with(&fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_deviation_is_of_the_sample_and_absent_for_one_value() {
        assert_eq!(mean_and_std(&[3.0]), (3.0, None));
        // (1 + 0 + 1) / (3 - 1) = 1
        assert_eq!(mean_and_std(&[1.0, 2.0, 3.0]), (2.0, Some(1.0)));
    }

    #[test]
    fn our_headers_are_told_from_others() {
        assert!(is_our_header(&FIXED_COLUMNS.join(",")));
        assert!(is_our_header(&FIXED_COLUMNS.join(",").replace("row,", "row,temperature,")));
        assert!(!is_our_header("row,metric,mine"));
        assert!(!is_our_header(""));
    }
}
