//! The numbers that a table reports, and the columns in which they stand.

use serde::Deserialize;

/// A number that a table reports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Kebab-case.
    pub name: String,
    /// For instance `errors`, `%`, `nats`.
    pub unit: String,
}

/// The columns that every table has. The key columns of its grids stand after the first.
pub const FIXED_COLUMNS: [&str; 15] = [
    "row",
    "metric",
    "unit",
    "mean",
    "std",
    "n",
    "reference",
    "reference_kind",
    "dataset",
    "preset",
    "epochs",
    "device",
    "seconds",
    "commit",
    "cells",
];
