//! A table as an experiment file describes it: its rows, what they need and what they report. See
//! [`experiment_file`](super::experiment_file) for how it is written.

use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use super::error::{Error, Result};
use super::metric::Metric;
use super::overrides;
use super::preset::{OneOrEach, PerPreset, Preset};
use super::seeds::Seeds;

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
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// The key column of the table's CSV.
    pub column: String,
    /// Where the value stands in the spec, dotted.
    pub path: String,
    /// The values of each preset.
    #[serde(deserialize_with = "one_or_each")]
    pub values: PerPreset<Vec<Value>>,
}

fn one_or_each<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<PerPreset<Vec<Value>>, D::Error> {
    OneOrEach::deserialize(deserializer).map(|values| values.0)
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
        overrides::set(self.spec.at_mut(preset), path, value).map_err(Error::bad_input)
    }

    /// States a value that the spec may leave out at this preset, where it does.
    pub fn state(&mut self, preset: Preset, key: &str, default: Value) {
        self.spec.at_mut(preset).entry(key.to_owned()).or_insert(default);
    }
}
