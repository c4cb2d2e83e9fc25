//! What a report is made of: the tables under the results folder, and what the runs folder and the
//! experiment files say of their cells.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::metric::FIXED_COLUMNS;
use crate::{DataIdentity, ExpandRequest, Experiment, Preset, expand, kept_cells};

/// A paper's results.
pub(super) struct PaperResults {
    /// Its name.
    pub name: String,
    /// Its tables, in the order of its experiment files.
    pub tables: Vec<(Experiment, Vec<Derived>)>,
    /// The spec and the epochs of each cell that a table names.
    pub cells: BTreeMap<String, CellRecord>,
}

/// A table's CSV as it was derived once: for one data set at one preset.
pub(super) struct Derived {
    /// The data set's name.
    pub dataset: String,
    /// The preset's name.
    pub preset: String,
    /// The names of the grids' columns.
    pub keys: Vec<String>,
    /// Its lines.
    pub lines: Vec<DerivedLine>,
    /// Pictures of the table, as SVG, by file name.
    pub pictures: Vec<(String, String)>,
}

/// A line of a table.
pub(super) struct DerivedLine {
    /// The fields by the names of their columns.
    pub fields: BTreeMap<String, String>,
    /// The cells behind it.
    pub cells: Vec<String>,
}

impl DerivedLine {
    /// A field; empty where there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// What is known of a cell.
#[derive(Default)]
pub(super) struct CellRecord {
    /// Its spec, as TOML.
    pub spec: String,
    /// Its table of epochs, where the run is at hand.
    pub epochs: String,
}

/// Collects the results of one paper; none where it has none.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn collect(
    name: &str,
    experiments: Vec<Experiment>,
    results: &Path,
    runs: &Path,
) -> Result<Option<PaperResults>> {
    let root = results.join(name);
    if !root.is_dir() {
        return Ok(None);
    }
    let folders = sorted(&root)?;
    let mut found =
        PaperResults { name: name.to_owned(), tables: Vec::new(), cells: BTreeMap::new() };
    for experiment in &experiments {
        let mut derived = Vec::new();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            derived.extend(table(folder, &experiment.name)?);
        }
        for table in &derived {
            specs(name, &experiments, &experiment.name, table, &mut found.cells);
        }
        if !derived.is_empty() {
            found.tables.push((experiment.clone(), derived));
        }
    }
    for (id, record) in &mut found.cells {
        // Those of the run store before those that were kept beside the tables.
        let kept = folders.iter().map(|folder| kept_cells::dir(folder, id));
        let dirs: Vec<PathBuf> = [runs.join(name).join(id)].into_iter().chain(kept).collect();
        let read = |file: &str| dirs.iter().find_map(|dir| fs::read_to_string(dir.join(file)).ok());
        if let Some(spec) = read("spec.toml") {
            record.spec = spec;
        }
        record.epochs = read("epochs.csv").unwrap_or_default();
    }
    Ok((!found.tables.is_empty()).then_some(found))
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        paths.push(entry.map_err(Error::io("read", dir))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The table called `name` in a results folder, if it is there.
fn table(folder: &Path, name: &str) -> Result<Option<Derived>> {
    let path = folder.join(format!("{name}.csv"));
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |error: csv::Error| Error::file(path.display().to_string(), error.to_string());
    let mut reader = csv::Reader::from_path(&path).map_err(wrong)?;
    let columns: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
    let keys = columns
        .iter()
        .filter(|column| !FIXED_COLUMNS.contains(&column.as_str()))
        .cloned()
        .collect();
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let fields: BTreeMap<String, String> =
            columns.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
        let cells = fields.get("cells").map(|ids| ids.split(';').map(str::to_owned).collect());
        lines.push(DerivedLine { fields, cells: cells.unwrap_or_default() });
    }
    let first = |column: &str| lines.first().map_or("", |line| line.field(column)).to_owned();
    let mut pictures = Vec::new();
    for path in sorted(folder)? {
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned());
        let Some(stem) = file.as_ref().and_then(|file| file.strip_suffix(".svg")) else { continue };
        // `omitted-digit-bias-curve.svg` is a picture of `omitted-digit`.
        if stem == name || stem.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')) {
            let svg = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            pictures.push((stem.to_owned(), svg));
        }
    }
    let (dataset, preset) = (first("dataset"), first("preset"));
    Ok(Some(Derived { dataset, preset, keys, lines, pictures }))
}

/// Adds the specs that the experiment files give the cells of a table: those of its lines, row by
/// row and seed by seed. What has changed since the table was derived is left out.
fn specs(
    paper: &str,
    experiments: &[Experiment],
    name: &str,
    table: &Derived,
    cells: &mut BTreeMap<String, CellRecord>,
) {
    for id in table.lines.iter().flat_map(|line| &line.cells).filter(|id| !id.is_empty()) {
        cells.entry(id.clone()).or_default();
    }
    let Ok(preset) = table.preset.parse::<Preset>() else { return };
    let data = DataIdentity {
        dataset: table.dataset.clone(),
        fingerprint: String::new(),
        note: None,
        comparable: true,
    };
    let request = ExpandRequest {
        paper,
        experiments,
        selected: &[name.to_owned()],
        preset,
        data: &data,
        seeds: None,
    };
    let Ok(plan) = expand(&request) else { return };
    let Some(planned) = plan.tables.iter().find(|planned| planned.name == name) else { return };
    for line in &table.lines {
        let same = planned.lines.iter().find(|planned| {
            planned.row == line.field("row")
                && planned.metric.name == line.field("metric")
                && planned.keys.iter().all(|(column, value)| line.field(column) == value)
        });
        let Some(same) = same.filter(|same| same.cells.len() == line.cells.len()) else { continue };
        for (id, planned) in line.cells.iter().zip(&same.cells) {
            let spec = plan.cell(planned).and_then(|cell| toml::to_string(&cell.spec).ok());
            if let Some(record) = cells.get_mut(id) {
                record.spec = spec.unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_no_table_is_named_with_what_is_wrong_and_where() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("kd.csv");
        let read = |text: &[u8]| {
            fs::write(&file, text).expect("a write");
            table(dir.path(), "kd")
        };
        for (text, what) in [
            (&b"row,metric,mean\na,b,1\na,b\n"[..], "line: 3"),
            (b"row,metric,mean\na,\xff,1\n", "UTF-8"),
        ] {
            let error = read(text).err().expect("an error").to_string();
            assert!(error.contains("kd.csv") && error.contains(what), "{error}");
        }
        // Empty, without lines, and of other columns: nothing to show, and no error.
        for text in [&b""[..], b"row,metric,mean\n", b"x\n1\n"] {
            let found = read(text).expect("a table").expect("a table");
            assert!(found.dataset.is_empty() && found.lines.iter().all(|l| l.cells.is_empty()));
        }
        assert!(table(dir.path(), "other").expect("no table").is_none());
    }
}
