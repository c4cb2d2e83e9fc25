//! The cells of a sweep, as an experiment that no file has.

use std::collections::BTreeMap;

use kd_base::nearest;
use toml::{Table, Value};

use super::axis::{self, Axis};
use super::points::Point;
use super::{ACCURACY, VALIDATION};
use crate::error::{Error, Result};
use crate::experiment::{Experiment, Grid, Need, Report, Row};
use crate::metric::Metric;
use crate::paper::Paper;
use crate::preset::{PerPreset, Preset};
use crate::seeds::Seeds;

/// The name of the experiment.
pub const SWEEP: &str = "sweep";

/// Which images are held out is decided by this seed, whatever the cells' own are: those of several
/// seeds, and those of a teacher with a seed of its own, hold out the same.
const SPLIT_SEED: i64 = 1;

/// A row that is tried at points.
pub struct Trial<'a> {
    /// All experiments of the paper: what the row needs may be in other tables.
    pub experiments: &'a [Experiment],
    /// The row's table.
    pub table: &'a Experiment,
    /// The row.
    pub row: &'a Row,
    /// The budget whose spec is tried.
    pub preset: Preset,
    /// The settings.
    pub axes: &'a [Axis],
    /// The share of the training images that is held out.
    pub held_out: f64,
    /// The seeds of each point.
    pub seeds: &'a Seeds,
}

impl<'a> Trial<'a> {
    /// The row that `TABLE/ROW` means at a preset.
    ///
    /// # Errors
    /// Bad input for a name of another form, an unknown table or row (with the nearest), and a row
    /// that the table does not have at the preset.
    pub fn find(
        experiments: &'a [Experiment],
        name: &str,
        preset: Preset,
    ) -> Result<(&'a Experiment, &'a Row)> {
        let fault = |what: String| Err(Error::bad_input(format!("{name}: {what}")));
        let Some((table, row)) = name.split_once('/') else {
            return fault("expected TABLE/ROW".to_owned());
        };
        let Some(of) = experiments.iter().find(|experiment| experiment.name == table) else {
            let known = experiments.iter().map(|experiment| experiment.name.as_str());
            return fault(format!("no table `{table}`{}", nearest::hint(table, known)));
        };
        let Some(found) = of.rows.iter().find(|other| other.name == row) else {
            let hint = nearest::hint(row, of.rows.iter().map(|row| row.name.as_str()));
            return fault(format!("no row `{row}` in table `{table}`{hint}"));
        };
        if !found.presets.contains(&preset) {
            let known: Vec<&str> = found.presets.iter().map(|preset| preset.name()).collect();
            let at = known.join(", ");
            return fault(format!("the table has no such row at preset {preset}, but at {at}"));
        }
        Ok((of, found))
    }

    /// The key columns: the row's own grids that are not swept, then the axes.
    pub fn columns(&self) -> Vec<String> {
        let own: Vec<String> = self.own_grids().map(|grid| grid.column.clone()).collect();
        let axes = self.axis_columns(&own);
        own.into_iter().chain(axes).collect()
    }

    /// The columns of the axes alone, beside those of the row's `own` grids. An axis over the
    /// setting of a grid keeps the grid's column, by which needed rows are told.
    fn axis_columns(&self, own: &[String]) -> Vec<String> {
        let columns = Axis::columns(self.axes, own);
        let grid = |axis: &Axis| self.row.grids.iter().find(|grid| grid.path == axis.path);
        let columns = self.axes.iter().zip(columns);
        columns.map(|(axis, column)| grid(axis).map_or(column, |g| g.column.clone())).collect()
    }

    /// The row's own grids that no axis is over.
    fn own_grids(&self) -> impl Iterator<Item = &'a Grid> {
        let axes = self.axes;
        let row: &'a Row = self.row;
        row.grids.iter().filter(move |grid| axes.iter().all(|axis| axis.path != grid.path))
    }

    /// The experiment with the row at these points, in a share of its epochs, and all that it needs
    /// in all of theirs: cells that hold images out.
    ///
    /// # Errors
    /// Bad input where an axis is not the row's, the row has a grid of several values that no axis is
    /// over, cells of the row or of one that it needs cannot hold images out, or `share` is below 1
    /// and changes a setting that an axis is over.
    pub fn experiment<P: Paper + ?Sized>(
        &self,
        paper: &P,
        points: &[&Point],
        share: f64,
    ) -> Result<Experiment> {
        Axis::check(self.axes, self.row, self.preset)?;
        for grid in self.own_grids() {
            if let values @ [_, _, ..] = grid.values.at(self.preset).as_slice() {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                return Err(Error::bad_input(format!(
                    "{}/{}: the row stands for several, of {} {}: choose with --over {}=VALUE",
                    self.table.name,
                    self.row.name,
                    grid.path,
                    values.join(", "),
                    grid.path
                )));
            }
        }
        let mut copies = Copies { trial: self, paper, names: BTreeMap::new(), rows: Vec::new() };
        let needs = copies.needs(self.table, self.row)?;
        let full = copies.held_out(self.table, self.row)?;
        let spec = if share < 1. { paper.shortened(&full, share)? } else { full.clone() };
        axis::agree(self.axes, &full, &spec).map_err(|path| {
            Error::bad_input(format!(
                "--budget: rungs of a budget change {path} themselves: sweep it without one"
            ))
        })?;
        let accuracy = Metric { name: ACCURACY.to_owned(), unit: "%".to_owned() };
        let own: Vec<String> = self.own_grids().map(|grid| grid.column.clone()).collect();
        let columns = self.axis_columns(&own);
        let report = |row: &str| {
            let (row, metric) = (row.to_owned(), accuracy.clone());
            vec![Report { row, key: metric.name.clone(), metric }]
        };
        let mut rows = copies.rows;
        for point in points {
            let swept = self.axes.iter().zip(&columns).zip(&point.values);
            let swept = swept.map(|((axis, column), value)| Grid {
                column: column.clone(),
                path: axis.path.clone(),
                values: same(vec![value.clone()]),
            });
            rows.push(Row {
                needs: needs.clone(),
                seeds: None,
                presets: Preset::ALL.to_vec(),
                spec: same(spec.clone()),
                grids: self.own_grids().cloned().chain(swept).collect(),
                report: report(&self.row.name),
                ..self.row.clone()
            });
        }
        let place = format!("{}/{}", self.table.name, self.row.name);
        let axes: Vec<&str> = self.axes.iter().map(|axis| axis.path.as_str()).collect();
        Ok(Experiment {
            name: SWEEP.to_owned(),
            file: self.table.file.clone(),
            title: format!("Sweep of {place} over {}", axes.join(", ")),
            source: format!("Row {} of {}", self.row.name, self.table.source),
            claim: format!(
                "Accuracy on {} of the training images, which are held out; the test images play no part.",
                self.held_out
            ),
            metrics: vec![accuracy],
            deviations: Vec::new(),
            gap_fills: Vec::new(),
            seeds: same(self.seeds.clone()),
            rows,
        })
    }
}

/// Copies of the rows that the swept one needs, and of those that these need, that hold images out.
struct Copies<'a, 'b, P: ?Sized> {
    trial: &'b Trial<'a>,
    paper: &'b P,
    /// The names of the copies by table and row.
    names: BTreeMap<(String, String), String>,
    rows: Vec<Row>,
}

impl<'a, P: Paper + ?Sized> Copies<'a, '_, P> {
    /// The needs of a row, with the copies in the place of the rows.
    fn needs(
        &mut self,
        table: &'a Experiment,
        row: &Row,
    ) -> Result<Vec<(String, PerPreset<Need>)>> {
        let mut needs = Vec::new();
        for (role, need) in &row.needs {
            let need = need.at(self.trial.preset);
            let row = self.copy(table, need)?;
            needs.push((role.clone(), same(Need { table: None, row, seeds: need.seeds.clone() })));
        }
        Ok(needs)
    }

    /// Copies a needed row unless it is copied; gives the copy's name.
    fn copy(&mut self, table: &'a Experiment, need: &Need) -> Result<String> {
        let of = need.table.as_ref().unwrap_or(&table.name);
        let experiments: &'a [Experiment] = self.trial.experiments;
        let found = experiments.iter().find(|experiment| experiment.name == *of);
        let found = found.and_then(|of| Some((of, of.rows.iter().find(|r| r.name == need.row)?)));
        let Some((table, row)) = found else {
            // As `expand` says of the file itself.
            let what = format!("needs: no row `{}` in table `{of}`", need.row);
            return Err(Error::file(&table.file, what));
        };
        let key = (table.name.clone(), row.name.clone());
        if let Some(name) = self.names.get(&key) {
            return Ok(name.clone());
        }
        let taken = |name: &str| {
            name == self.trial.row.name || self.names.values().any(|other| other == name)
        };
        let mut name = row.name.clone();
        while taken(&name) {
            name = format!("{}-{name}", table.name);
        }
        // Before its needs: where rows need each other in a circle, `expand` finds it.
        self.names.insert(key, name.clone());
        let needs = self.needs(table, row)?;
        let spec = same(self.held_out(table, row)?);
        let presets = Preset::ALL.to_vec();
        let report = Vec::new();
        self.rows.push(Row { name: name.clone(), needs, presets, spec, report, ..row.clone() });
        Ok(name)
    }

    /// The row's spec, with images held out.
    fn held_out(&self, table: &Experiment, row: &Row) -> Result<Table> {
        if !self.paper.holds_out(&row.kind) {
            return Err(Error::bad_input(format!(
                "{}/{}: cells of kind {} of {} cannot hold out training images",
                table.name,
                row.name,
                row.kind,
                self.paper.name()
            )));
        }
        let mut spec = row.spec.at(self.trial.preset).clone();
        let part = [
            ("share".to_owned(), Value::Float(self.trial.held_out)),
            ("seed".to_owned(), Value::Integer(SPLIT_SEED)),
        ];
        spec.insert(VALIDATION.to_owned(), Value::Table(Table::from_iter(part)));
        Ok(spec)
    }
}

fn same<T: Clone>(value: T) -> PerPreset<T> {
    PerPreset { quick: value.clone(), laptop: value.clone(), paper: value }
}
