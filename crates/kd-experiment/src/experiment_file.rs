//! Experiment files: `experiments/<paper>/<table>.toml`, one for each published table or figure.
//!
//! ```toml
//! title = "Distilling the knowledge in a neural network: MNIST"
//! source = "Hinton, Vinyals, Dean 2015, section 3"
//! claim = "A small net learns from a large one's soft targets"
//! metrics = [{ name = "test-errors", unit = "errors" }]
//! deviations = ["D1 what differs from the paper"]
//! gap-fills = ["G1 what the paper does not say"]
//! [presets.quick]
//! seeds = [1]                                    # a list, or "1..3"
//! # [presets.laptop] and [presets.paper] are written in the same way
//! [[row]]
//! name = "student"                               # kebab-case
//! kind = "train"                                 # read by the paper, like `spec`
//! needs = { teacher = "table/row" }              # same seed; "row" of this table; "row#1" that seed; "row#1..10" a list
//! seeds = [1]                                    # optional: in place of the preset's, also { quick = [1], laptop = .., paper = .. }
//! metrics = ["test-errors"]                      # optional: the metrics that this row has; all of the table's where missing
//! presets = ["laptop", "paper"]                  # optional: the presets at which the table has this row; all where missing
//! [row.spec]
//! epochs = 20
//! temperature = 4.0
//! [row.quick]                                    # merged into the spec at that preset; only keys that the spec states
//! epochs = 2
//! [[row.grid]]                                   # the row at each value; several grids: at each combination
//! column = "temperature"
//! path = "temperature"
//! values = [1, 2, 4]                             # or { quick = [..], laptop = [..], paper = [..] }
//! [row.report]                                   # optional: which of the cell's numbers stand in which table row
//! "before-bias" = { "test-errors" = "before-bias.test-errors" }
//! ```
//!
//! A row with `like = "NAME"` has the kind, the spec and the presets' changes of that earlier row
//! of the file under its own; a spec may then add keys, for instance where a kind takes more. There
//! and at a preset, a table with another `kind` (`optimizer`, `schedule`, …) replaces the one below
//! it whole.
//!
//! Rows that differ in a few values are written once:
//!
//! ```toml
//! [each]
//! pairs = [{ teacher = "resnet56", student = "resnet20", beta = 2.0 }, { teacher = "wrn-40-2", .. }]
//! [[row]]
//! name = "{teacher}-{student}-dkd"               # one row for each entry of the list
//! each = "pairs"
//! where = { beta = 2.0 }                         # optional: for those entries alone
//! spec = { method = { kind = "dkd", beta = "{beta}" } }   # a string that is a key alone takes its value
//! ```
//!
//! Unknown keys are errors. Where a needed row has grids, its cell with the same values in the
//! shared columns is meant.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::{Spanned, Table, Value};

use super::cell::canonical;
use super::error::{Error, Result};
use super::experiment::{Experiment, Grid, Need, Report, Row};
use super::metric::{FIXED_COLUMNS, Metric};
use super::preset::{OneOrEach, PerPreset, Preset};
use super::reading::{expected, line, read_table, read_text};
use super::seeds::Seeds;
use super::{each, like, overrides};

/// Reads every `*.toml` of a paper's folder, in the order of their names.
pub fn load_dir(dir: &Path) -> Result<Vec<Experiment>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let path = entry.map_err(Error::io("read", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(Error::bad_input(format!(
            "{}: expected experiment files (*.toml), found none",
            dir.display()
        )));
    }
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        parse(&path.display().to_string(), &name, &text)
    };
    paths.iter().map(read).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileTable {
    title: String,
    source: String,
    claim: String,
    #[serde(default)]
    metrics: Vec<Metric>,
    #[serde(default)]
    deviations: Vec<String>,
    #[serde(default)]
    gap_fills: Vec<String>,
    presets: PerPreset<PresetTable>,
    #[serde(default)]
    each: Table,
    #[serde(default)]
    row: Vec<Spanned<Table>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetTable {
    seeds: Seeds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowTable {
    name: String,
    kind: String,
    #[serde(default)]
    needs: Needs,
    seeds: Option<OneOrEach<Seeds>>,
    metrics: Option<Vec<String>>,
    presets: Option<Vec<Preset>>,
    #[serde(default)]
    spec: Table,
    #[serde(default)]
    quick: Table,
    #[serde(default)]
    laptop: Table,
    #[serde(default)]
    paper: Table,
    #[serde(default)]
    grid: Vec<Grid>,
    report: Option<Table>,
}

/// Reads one experiment file: `file` is its path for messages, `name` the table's name.
pub fn parse(file: &str, name: &str, text: &str) -> Result<Experiment> {
    let fault = |key: &str, message: String| Error::file(file, format!("{key}: {message}"));
    kebab(name).map_err(|message| fault("the file's name", message))?;
    let top: FileTable = read_text(file, text)?;
    for (i, metric) in top.metrics.iter().enumerate() {
        kebab(&metric.name).map_err(|message| fault(&format!("metrics[{i}].name"), message))?;
    }
    if top.metrics.is_empty() {
        return Err(fault("metrics", "expected at least one { name = .., unit = .. }".into()));
    }
    numbered(&top.deviations, 'D').map_err(|message| fault("deviations", message))?;
    numbered(&top.gap_fills, 'G').map_err(|message| fault("gap-fills", message))?;
    let written = top.row.into_iter().map(|row| {
        let at = format!("{file}:{}", line(text, row.span().start));
        (at, row.into_inner())
    });
    let rows = like::resolve(each::expand(file, top.each, written.collect())?)?
        .into_iter()
        .map(|(file, table)| row(&file, table, &top.metrics))
        .collect::<Result<Vec<Row>>>()?;
    if rows.is_empty() {
        return Err(fault("row", "expected at least one [[row]]".into()));
    }
    for (i, row) in rows.iter().enumerate() {
        if rows[..i].iter().any(|other| other.name == row.name) {
            return Err(fault("row", format!("two rows are named `{}`", row.name)));
        }
    }
    let PerPreset { quick, laptop, paper } = top.presets;
    Ok(Experiment {
        name: name.to_string(),
        file: file.to_string(),
        title: top.title,
        source: top.source,
        claim: top.claim,
        metrics: top.metrics,
        deviations: top.deviations,
        gap_fills: top.gap_fills,
        seeds: PerPreset { quick: quick.seeds, laptop: laptop.seeds, paper: paper.seeds },
        rows,
    })
}

fn numbered(items: &[String], letter: char) -> Result<(), String> {
    let digits =
        |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let good = |item: &&String| {
        item.strip_prefix(letter)
            .and_then(|rest| rest.split_once(' '))
            .is_some_and(|(number, _)| digits(number))
    };
    match items.iter().find(|item| !good(item)) {
        Some(item) => Err(format!("expected `{letter}<number> <text>`, got `{item}`")),
        None => Ok(()),
    }
}

fn row(file: &str, table: Table, metrics: &[Metric]) -> Result<Row> {
    let Some(Value::String(name)) = table.get("name") else {
        return Err(Error::file(file, "row: expected every [[row]] to have a string `name`"));
    };
    let at = format!("row[{name}]");
    let row: RowTable = read_table(file, &at, table)?;
    let fault = |key: &str, message: String| Error::file(file, format!("{at}.{key}: {message}"));
    kebab(&row.name).map_err(|message| fault("name", message))?;
    let changes = PerPreset { quick: row.quick, laptop: row.laptop, paper: row.paper };
    let spec = PerPreset::build(|preset| {
        let mut spec = row.spec.clone();
        overrides::merge(&mut spec, changes.at(preset))
            .map_err(|message| fault(preset.name(), message))?;
        Ok::<_, Error>(spec)
    })?;
    for (i, grid) in row.grid.iter().enumerate() {
        check_grid(grid, &row.spec)
            .map_err(|(key, message)| fault(&format!("grid[{i}].{key}"), message))?;
    }
    if row.presets.as_ref().is_some_and(Vec::is_empty) {
        return Err(fault("presets", "expected at least one preset, got none".into()));
    }
    Ok(Row {
        report: report(&row.name, row.report, row.metrics, metrics)
            .map_err(|(key, m)| fault(key, m))?,
        name: row.name,
        kind: row.kind,
        needs: row.needs.0,
        seeds: row.seeds.map(|seeds| seeds.0),
        presets: row.presets.unwrap_or_else(|| Preset::ALL.to_vec()),
        spec,
        grids: row.grid,
    })
}

/// The needs by role, in the order of the file.
#[derive(Default)]
struct Needs(Vec<(String, PerPreset<Need>)>);

impl<'de> Deserialize<'de> for Needs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Roles;
        impl<'de> Visitor<'de> for Roles {
            type Value = Needs;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Needs, A::Error> {
                let mut needs = Vec::new();
                while let Some((role, OneOrEach(need))) = map.next_entry()? {
                    needs.push((role, need));
                }
                Ok(Needs(needs))
            }
        }
        deserializer.deserialize_map(Roles)
    }
}

fn check_grid(grid: &Grid, spec: &Table) -> Result<(), (&'static str, String)> {
    kebab(&grid.column).map_err(|message| ("column", message))?;
    if FIXED_COLUMNS.contains(&grid.column.as_str()) {
        let message = format!("every table has a column `{}` of its own", grid.column);
        return Err(("column", message));
    }
    for values in Preset::ALL.into_iter().map(|preset| grid.values.at(preset)) {
        if values.is_empty() {
            return Err(("values", "expected at least one value, got none".into()));
        }
        for value in values {
            overrides::set(&mut spec.clone(), &grid.path, value)
                .map_err(|message| ("path", message))?;
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Need {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let Value::String(text) = &value else {
            let forms = "\"table/row\", \"row\", \"row#1\" or \"row#1..10\"";
            return Err(D::Error::custom(expected(forms, &value)));
        };
        let (place, seeds) = match text.split_once('#') {
            Some((place, seeds)) => (place, Some(seeds.parse().map_err(D::Error::custom)?)),
            None => (text.as_str(), None),
        };
        let (table, row) = match place.split_once('/') {
            Some((table, row)) => (Some(table.to_string()), row),
            None => (None, place),
        };
        Ok(Need { table, row: row.to_string(), seeds })
    }
}

fn report(
    row: &str,
    report: Option<Table>,
    chosen: Option<Vec<String>>,
    metrics: &[Metric],
) -> Result<Vec<Report>, (&'static str, String)> {
    let find = |name: &str| {
        let known = metrics.iter().map(|metric| metric.name.as_str());
        let found = metrics.iter().find(|metric| metric.name == name).cloned();
        found.ok_or_else(|| {
            format!("no metric `{name}` in this file{}", kd_base::nearest::hint(name, known))
        })
    };
    match (report, chosen) {
        (None, None) => Ok(metrics.iter().map(|metric| own_line(row, metric)).collect()),
        (None, Some(names)) => names
            .iter()
            .map(|name| Ok(own_line(row, &find(name).map_err(|message| ("metrics", message))?)))
            .collect(),
        (Some(_), Some(_)) => {
            Err(("metrics", "a row with a `report` names its metrics there".into()))
        }
        (Some(rows), None) => lines(rows, find).map_err(|message| ("report", message)),
    }
}

fn lines(
    rows: Table,
    find: impl Fn(&str) -> Result<Metric, String>,
) -> Result<Vec<Report>, String> {
    let mut lines = Vec::new();
    for (row, keys) in rows {
        kebab(&row)?;
        let Value::Table(keys) = keys else {
            return Err(expected("a table of metric = \"key of the result\"", &keys));
        };
        for (name, key) in keys {
            let Value::String(key) = key else {
                return Err(expected("a key of the result", &key));
            };
            lines.push(Report { row: row.clone(), metric: find(&name)?, key });
        }
    }
    Ok(lines)
}

fn own_line(row: &str, metric: &Metric) -> Report {
    Report { row: row.to_string(), metric: metric.clone(), key: metric.name.clone() }
}

fn kebab(name: &str) -> Result<(), String> {
    let ok = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if name.split('-').all(ok) {
        return Ok(());
    }
    let got = canonical(&Value::from(name));
    Err(format!("expected a kebab-case name (a-z, 0-9, -), got {got}"))
}
