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

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::cell::canonical;
use super::error::{Error, Result};
use super::fields::Fields;
use super::metric::{FIXED_COLUMNS, Metric};
use super::preset::{PerPreset, Preset};
use super::seeds::Seeds;
use super::{each, like, overrides};
use kd_base::message::one_line;

/// One experiment file: what a published table claims, and the rows that reproduce it.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The table's name: the file's stem.
    pub name: String,
    /// The file, for messages.
    pub file: String,
    /// A heading for people.
    pub title: String,
    /// Authors, year, table or section.
    pub source: String,
    /// What the table shows, in a sentence.
    pub claim: String,
    /// The numbers of each row, in order.
    pub metrics: Vec<Metric>,
    /// What differs from the paper, numbered: `D1 ...`.
    pub deviations: Vec<String>,
    /// What the paper leaves open and is chosen here, numbered: `G1 ...`.
    pub gap_fills: Vec<String>,
    /// The seeds of each preset.
    pub seeds: PerPreset<Seeds>,
    /// The rows, in order.
    pub rows: Vec<Row>,
}

/// One row of an experiment file, before grids and seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Kebab-case, unique in the file.
    pub name: String,
    /// What the paper does with it.
    pub kind: String,
    /// The cells it needs, by role.
    pub needs: Vec<(String, PerPreset<Need>)>,
    /// Its own seeds, where it does not use the table's.
    pub seeds: Option<PerPreset<Seeds>>,
    /// The presets at which the table has this row. At the others its cells run only where another
    /// row needs them.
    pub presets: Vec<Preset>,
    /// The resolved spec of each preset, before grids.
    pub spec: PerPreset<Table>,
    /// The grids, in order; the first varies slowest.
    pub grids: Vec<Grid>,
    /// The table lines that its cells fill, in order.
    pub report: Vec<Report>,
}

/// A row that another row's cells need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The table; the same file where missing.
    pub table: Option<String>,
    /// The row.
    pub row: String,
    /// The seeds; the needing cell's own where missing.
    pub seeds: Option<Seeds>,
}

/// A hyper-parameter that takes several values within a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The key column of the table's CSV.
    pub column: String,
    /// Where the value stands in the spec, dotted.
    pub path: String,
    /// The values of each preset.
    pub values: PerPreset<Vec<Value>>,
}

/// One line of a table that a row's cells fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The row of the table; mostly the experiment row's own name.
    pub row: String,
    /// The metric of the table.
    pub metric: Metric,
    /// The key of the number in the cell's result.
    pub key: String,
}

impl Row {
    /// Puts another value in the place of one that the spec states at this preset; `path` is dotted,
    /// as a grid's.
    ///
    /// # Errors
    /// Bad input that names the path where the spec does not state it, or is a table there and the
    /// value is none.
    pub fn set(&mut self, preset: Preset, path: &str, value: &Value) -> Result<()> {
        let spec = match preset {
            Preset::Quick => &mut self.spec.quick,
            Preset::Laptop => &mut self.spec.laptop,
            Preset::Paper => &mut self.spec.paper,
        };
        overrides::set(spec, path, value).map_err(Error::bad_input)
    }
}

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

/// Reads one experiment file: `file` is its path for messages, `name` the table's name.
pub fn parse(file: &str, name: &str, text: &str) -> Result<Experiment> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Error::file(format!("{file}:{line}"), one_line(&error.message()))
    })?;
    let mut top = Fields::new(file, "", table);
    kebab(&top, "the file's name", name)?;
    let metrics = top
        .tables("metrics")?
        .into_iter()
        .enumerate()
        .map(|(i, table)| metric(file, i, table))
        .collect::<Result<Vec<_>>>()?;
    if metrics.is_empty() {
        return Err(top.error("metrics", "expected at least one { name = .., unit = .. }"));
    }
    let presets = top.table("presets")?;
    let rows = each::expand(file, top.table("each")?, top.tables("row")?)?;
    let experiment = Experiment {
        name: name.to_string(),
        file: file.to_string(),
        title: top.string("title")?,
        source: top.string("source")?,
        claim: top.string("claim")?,
        deviations: numbered(&mut top, "deviations", 'D')?,
        gap_fills: numbered(&mut top, "gap-fills", 'G')?,
        seeds: preset_seeds(file, presets)?,
        rows: like::resolve(file, rows)?
            .into_iter()
            .map(|table| row(file, table, &metrics))
            .collect::<Result<_>>()?,
        metrics,
    };
    if experiment.rows.is_empty() {
        return Err(top.error("row", "expected at least one [[row]]"));
    }
    for (i, row) in experiment.rows.iter().enumerate() {
        if experiment.rows[..i].iter().any(|other| other.name == row.name) {
            return Err(top.error("row", format_args!("two rows are named `{}`", row.name)));
        }
    }
    top.finish()?;
    Ok(experiment)
}

fn metric(file: &str, index: usize, table: Table) -> Result<Metric> {
    let mut fields = Fields::new(file, format!("metrics[{index}]"), table);
    let metric = Metric { name: fields.string("name")?, unit: fields.string("unit")? };
    kebab(&fields, "name", &metric.name)?;
    fields.finish()?;
    Ok(metric)
}

fn numbered(fields: &mut Fields, key: &'static str, letter: char) -> Result<Vec<String>> {
    let items = fields.strings(key)?;
    for item in &items {
        let number = item
            .strip_prefix(letter)
            .and_then(|rest| rest.split_once(' '))
            .map(|(number, _)| number);
        if !number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        }) {
            return Err(
                fields.error(key, format_args!("expected `{letter}<number> <text>`, got `{item}`"))
            );
        }
    }
    Ok(items)
}

fn preset_seeds(file: &str, presets: Table) -> Result<PerPreset<Seeds>> {
    let mut fields = Fields::new(file, "presets", presets);
    let seeds = PerPreset::build(|preset| {
        let table = match fields.take(preset.name()) {
            Some(Value::Table(table)) => table,
            Some(other) => return Err(fields.expected(preset.name(), "a table", &other)),
            None => return Err(fields.missing(preset.name())),
        };
        let mut fields = Fields::new(file, format!("presets.{preset}"), table);
        let value = fields.take("seeds").ok_or_else(|| fields.missing("seeds"))?;
        let seeds = seed_list(&fields, &value)?;
        fields.finish()?;
        Ok(seeds)
    })?;
    fields.finish()?;
    Ok(seeds)
}

fn seed_list(fields: &Fields, value: &Value) -> Result<Seeds> {
    let wrong = || fields.expected("seeds", "a list of seeds or a range \"1..3\"", value);
    match value {
        Value::String(text) => {
            text.parse().map_err(|message: String| fields.error("seeds", message))
        }
        Value::Array(items) => {
            let seeds = items
                .iter()
                .map(|item| item.as_integer().and_then(|seed| u64::try_from(seed).ok()));
            let seeds = seeds.collect::<Option<Vec<u64>>>().ok_or_else(wrong)?;
            Seeds::new(seeds).map_err(|message| fields.error("seeds", message))
        }
        _ => Err(wrong()),
    }
}

fn preset_list(fields: &Fields, value: &Value) -> Result<Vec<Preset>> {
    let wrong = || fields.expected("presets", "an array of at least one preset", value);
    let names = value.as_array().filter(|names| !names.is_empty()).ok_or_else(wrong)?;
    let preset = |name: &Value| {
        name.as_str()
            .ok_or_else(wrong)?
            .parse()
            .map_err(|message: String| fields.error("presets", message))
    };
    names.iter().map(preset).collect()
}

/// A value, or a table of one value for each preset.
fn per_preset<T: Clone>(
    file: &str,
    path: String,
    value: &Value,
    mut read: impl FnMut(&Fields, &Value) -> Result<T>,
) -> Result<PerPreset<T>> {
    let Value::Table(table) = value else {
        let one = read(&Fields::new(file, path, Table::new()), value)?;
        return Ok(PerPreset { quick: one.clone(), laptop: one.clone(), paper: one });
    };
    let mut fields = Fields::new(file, path, table.clone());
    let values = PerPreset::build(|preset| {
        let value = fields.take(preset.name()).ok_or_else(|| fields.missing(preset.name()))?;
        read(&fields, &value)
    })?;
    fields.finish()?;
    Ok(values)
}

fn row(file: &str, mut table: Table, metrics: &[Metric]) -> Result<Row> {
    let name = match table.remove("name") {
        Some(Value::String(name)) => name,
        _ => return Err(Error::file(file, "row: expected every [[row]] to have a string `name`")),
    };
    let at = format!("row[{name}]");
    let mut fields = Fields::new(file, at.clone(), table);
    kebab(&fields, "name", &name)?;
    let base = fields.table("spec")?;
    let spec = PerPreset::build(|preset| {
        let change = fields.table(preset.name())?;
        let mut spec = base.clone();
        overrides::merge(&mut spec, &change)
            .map_err(|message| fields.error(preset.name(), message))?;
        Ok::<_, Error>(spec)
    })?;
    let grids = fields
        .tables("grid")?
        .into_iter()
        .map(|table| grid(file, &at, table, &base))
        .collect::<Result<Vec<_>>>()?;
    let mut needs = Vec::new();
    for (role, value) in fields.table("needs")? {
        let need = per_preset(file, format!("{at}.needs.{role}"), &value, |_, value| {
            need(&fields, &role, value)
        })?;
        needs.push((role, need));
    }
    let seeds = match fields.take("seeds") {
        Some(value) => Some(per_preset(file, at.clone(), &value, seed_list)?),
        None => None,
    };
    let presets = match fields.take("presets") {
        Some(value) => preset_list(&fields, &value)?,
        None => Preset::ALL.to_vec(),
    };
    let row = Row {
        kind: fields.string("kind")?,
        needs,
        seeds,
        presets,
        spec,
        grids,
        report: report(&mut fields, &name, metrics)?,
        name,
    };
    fields.finish()?;
    Ok(row)
}

fn grid(file: &str, row: &str, table: Table, spec: &Table) -> Result<Grid> {
    let mut fields = Fields::new(file, format!("{row}.grid"), table);
    let column = fields.string("column")?;
    kebab(&fields, "column", &column)?;
    if FIXED_COLUMNS.contains(&column.as_str()) {
        return Err(
            fields.error("column", format_args!("every table has a column `{column}` of its own"))
        );
    }
    let path = fields.string("path")?;
    let values = fields.take("values").ok_or_else(|| fields.missing("values"))?;
    let values = per_preset(file, fields.key("values"), &values, |fields, value| match value {
        Value::Array(items) if !items.is_empty() => Ok(items.clone()),
        other => Err(fields.expected("values", "a list of at least one value", other)),
    })?;
    for value in Preset::ALL.into_iter().flat_map(|preset| values.at(preset)) {
        overrides::set(&mut spec.clone(), &path, value)
            .map_err(|message| fields.error("path", message))?;
    }
    fields.finish()?;
    Ok(Grid { column, path, values })
}

fn need(fields: &Fields, role: &str, value: &Value) -> Result<Need> {
    let key = format!("needs.{role}");
    let Value::String(text) = value else {
        return Err(fields.expected(
            &key,
            "\"table/row\", \"row\", \"row#1\" or \"row#1..10\"",
            value,
        ));
    };
    let (place, seeds) = match text.split_once('#') {
        Some((place, seeds)) => {
            (place, Some(seeds.parse().map_err(|message: String| fields.error(&key, message))?))
        }
        None => (text.as_str(), None),
    };
    let (table, row) = match place.split_once('/') {
        Some((table, row)) => (Some(table.to_string()), row),
        None => (None, place),
    };
    Ok(Need { table, row: row.to_string(), seeds })
}

fn report(fields: &mut Fields, row: &str, metrics: &[Metric]) -> Result<Vec<Report>> {
    let find = |fields: &Fields, key: &str, name: &str| {
        let known = metrics.iter().map(|metric| metric.name.as_str());
        let found = metrics.iter().find(|metric| metric.name == name).cloned();
        found.ok_or_else(|| {
            fields.error(
                key,
                format_args!(
                    "no metric `{name}` in this file{}",
                    kd_base::nearest::hint(name, known)
                ),
            )
        })
    };
    let chosen = fields.take("metrics");
    match (fields.take("report"), chosen) {
        (None, None) => Ok(metrics.iter().map(|metric| own_line(row, metric)).collect()),
        (None, Some(Value::Array(names))) => {
            let line = |name: &Value| match name {
                Value::String(name) => Ok(own_line(row, &find(fields, "metrics", name)?)),
                other => Err(fields.expected("metrics", "an array of names", other)),
            };
            names.iter().map(line).collect()
        }
        (None, Some(other)) => Err(fields.expected("metrics", "an array of names", &other)),
        (Some(_), Some(_)) => {
            Err(fields.error("metrics", "a row with a `report` names its metrics there"))
        }
        (Some(Value::Table(rows)), None) => {
            let mut lines = Vec::new();
            for (row, keys) in rows {
                kebab(fields, "report", &row)?;
                let Value::Table(keys) = keys else {
                    return Err(fields.expected(
                        "report",
                        "a table of metric = \"key of the result\"",
                        &keys,
                    ));
                };
                for (name, key) in keys {
                    let Value::String(key) = key else {
                        return Err(fields.expected("report", "a key of the result", &key));
                    };
                    lines.push(Report {
                        row: row.clone(),
                        metric: find(fields, "report", &name)?,
                        key,
                    });
                }
            }
            Ok(lines)
        }
        (Some(other), None) => Err(fields.expected("report", "a table", &other)),
    }
}

fn own_line(row: &str, metric: &Metric) -> Report {
    Report { row: row.to_string(), metric: metric.clone(), key: metric.name.clone() }
}

fn kebab(fields: &Fields, key: &str, name: &str) -> Result<()> {
    let ok = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if name.split('-').all(ok) {
        return Ok(());
    }
    Err(fields.error(
        key,
        format_args!(
            "expected a kebab-case name (a-z, 0-9, -), got {}",
            canonical(&Value::from(name))
        ),
    ))
}
