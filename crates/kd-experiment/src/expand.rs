//! From experiment files to cells: rows × grids × seeds, and the cells that those need.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::cell::{Cell, CellId, canonical};
use super::data::DataIdentity;
use super::error::{Error, Result};
use super::experiment::{Experiment, Need, Row};
use super::overrides;
use super::plan::{Line, Plan, TablePlan};
use super::preset::Preset;
use super::seeds::Seeds;
use kd_base::nearest;

/// Most points of one row's grids. No table of a paper comes near; a file of a few lines can ask for
/// billions.
const MAX_POINTS: usize = 10_000;
/// Most cells, needs of cells and points that are looked at, together.
const MAX_STEPS: usize = 200_000;
/// Most cells that need each other in a row.
const MAX_DEPTH: usize = 100;

/// What to expand.
#[derive(Debug, Clone, Copy)]
pub struct ExpandRequest<'a> {
    /// The paper's name.
    pub paper: &'a str,
    /// All of the paper's experiment files: rows may need rows of other tables.
    pub experiments: &'a [Experiment],
    /// The tables to expand; empty: all.
    pub selected: &'a [String],
    /// The budget.
    pub preset: Preset,
    /// The data.
    pub data: &'a DataIdentity,
    /// In place of the seeds of the presets. Rows with seeds of their own keep them.
    pub seeds: Option<&'a Seeds>,
}

/// Expands the selected tables to a plan: every cell once, after the cells that it needs.
///
/// Errors: an unknown table or row (with the nearest name), needs that form a cycle or fit several
/// cells, two rows that fill one line, more points or cells than any table has.
pub fn expand(request: &ExpandRequest) -> Result<Plan> {
    let mut expansion = Expansion {
        request,
        cells: Vec::new(),
        known: BTreeMap::new(),
        expanded: BTreeMap::new(),
        open: Vec::new(),
        steps: 0,
    };
    let mut tables = Vec::new();
    for experiment in select(request.experiments, request.selected)? {
        tables.push(expansion.table(experiment)?);
    }
    Ok(Plan { cells: expansion.cells, tables })
}

/// The experiments with the given names, in the files' order; all where there are no names.
fn select<'a>(experiments: &'a [Experiment], selected: &[String]) -> Result<Vec<&'a Experiment>> {
    for name in selected {
        find_table(experiments, name).map_err(Error::bad_input)?;
    }
    Ok(experiments
        .iter()
        .filter(|experiment| selected.is_empty() || selected.contains(&experiment.name))
        .collect())
}

fn find_table<'a>(experiments: &'a [Experiment], name: &str) -> Result<&'a Experiment, String> {
    let found = experiments.iter().find(|experiment| experiment.name == name);
    let hint =
        || nearest::hint(name, experiments.iter().map(|experiment| experiment.name.as_str()));
    found.ok_or_else(|| format!("no table `{name}`{}", hint()))
}

/// One point of a row's grids: the key columns as text, and the values to set.
struct Point<'a> {
    keys: Vec<(String, String)>,
    values: Vec<(&'a str, &'a Value)>,
}

struct Expansion<'a> {
    request: &'a ExpandRequest<'a>,
    cells: Vec<Cell>,
    known: BTreeMap<CellId, usize>,
    /// The name of each cell that is expanded: what several cells need is expanded once.
    expanded: BTreeMap<Label, CellId>,
    /// The cells whose needs are being expanded, outermost first: a cell that is met again here is
    /// part of a cycle.
    open: Vec<String>,
    steps: usize,
}

/// A table, a row of it, the values of its grids and a seed.
type Label = (String, String, String, u64);

impl<'a> Expansion<'a> {
    fn table(&mut self, experiment: &'a Experiment) -> Result<TablePlan> {
        let mut lines: Vec<Line> = Vec::new();
        let mut filled = BTreeSet::new();
        let mut columns: Vec<String> = Vec::new();
        let (here, elsewhere): (Vec<&Row>, Vec<&Row>) =
            experiment.rows.iter().partition(|row| row.presets.contains(&self.request.preset));
        for row in here {
            for grid in &row.grids {
                if !columns.contains(&grid.column) {
                    columns.push(grid.column.clone());
                }
            }
            let seeds = match (&row.seeds, self.request.seeds) {
                (Some(own), _) => own.at(self.request.preset),
                (None, Some(given)) => given,
                (None, None) => experiment.seeds.at(self.request.preset),
            };
            for point in self.points(experiment, row)? {
                let cells = seeds
                    .0
                    .iter()
                    .map(|seed| self.cell(experiment, row, &point, *seed))
                    .collect::<Result<Vec<_>>>()?;
                for report in &row.report {
                    let line = (report.row.clone(), point.keys.clone(), report.metric.name.clone());
                    if !filled.insert(line) {
                        let message = format!(
                            "row[{}]: another row fills the line {} {} too",
                            row.name, report.row, report.metric.name
                        );
                        return Err(Error::file(&experiment.file, message));
                    }
                    lines.push(Line {
                        row: report.row.clone(),
                        keys: point.keys.clone(),
                        metric: report.metric.clone(),
                        key: report.key.clone(),
                        cells: cells.clone(),
                    });
                }
            }
        }
        Ok(TablePlan {
            name: experiment.name.clone(),
            title: experiment.title.clone(),
            source: experiment.source.clone(),
            claim: experiment.claim.clone(),
            file: experiment.file.clone(),
            preset: self.request.preset,
            dataset: self.request.data.dataset.clone(),
            comparable: self.request.data.comparable,
            columns,
            lines,
            elsewhere: elsewhere.into_iter().map(|row| row.name.clone()).collect(),
        })
    }

    /// Counts `n` steps of the expansion of a file.
    fn spend(&mut self, experiment: &Experiment, n: usize) -> Result<()> {
        self.steps = self.steps.saturating_add(n);
        if self.steps <= MAX_STEPS {
            return Ok(());
        }
        let message = format!("expected at most {MAX_STEPS} cells and needs of cells, got more");
        Err(Error::file(&experiment.file, message))
    }

    /// The product of a row's grids, the first varying slowest; one empty point where there are
    /// none.
    fn points(&mut self, experiment: &Experiment, row: &'a Row) -> Result<Vec<Point<'a>>> {
        let lengths = row.grids.iter().map(|grid| grid.values.at(self.request.preset).len());
        let product = lengths.fold(1usize, usize::saturating_mul);
        if product > MAX_POINTS {
            let message = format!(
                "row[{}].grid: expected at most {MAX_POINTS} points, got {product}",
                row.name
            );
            return Err(Error::file(&experiment.file, message));
        }
        self.spend(experiment, product)?;
        let mut points = vec![Point { keys: Vec::new(), values: Vec::new() }];
        for grid in &row.grids {
            let longer = |point: &Point<'a>, value: &'a Value| Point {
                keys: [point.keys.as_slice(), &[(grid.column.clone(), key_text(value))]].concat(),
                values: [point.values.as_slice(), &[(grid.path.as_str(), value)]].concat(),
            };
            let values = grid.values.at(self.request.preset);
            points = points
                .iter()
                .flat_map(|point| values.iter().map(move |value| longer(point, value)))
                .collect();
        }
        Ok(points)
    }

    /// The cell of a row at a point with a seed; adds it, after its needs, unless it is known.
    fn cell(
        &mut self,
        experiment: &'a Experiment,
        row: &'a Row,
        point: &Point<'a>,
        seed: u64,
    ) -> Result<CellId> {
        self.spend(experiment, 1)?;
        let values: Vec<String> = point.values.iter().map(|(_, value)| canonical(value)).collect();
        let label = (experiment.name.clone(), row.name.clone(), values.join(" "), seed);
        if let Some(id) = self.expanded.get(&label) {
            return Ok(id.clone());
        }
        let id = self.new_cell(experiment, row, point, seed)?;
        self.expanded.insert(label, id.clone());
        Ok(id)
    }

    fn new_cell(
        &mut self,
        experiment: &'a Experiment,
        row: &'a Row,
        point: &Point<'a>,
        seed: u64,
    ) -> Result<CellId> {
        let mut spec = row.spec.at(self.request.preset).clone();
        for (path, value) in &point.values {
            overrides::set(&mut spec, path, value)
                .map_err(|message| Error::file(&experiment.file, message))?;
        }
        let mut cell = Cell {
            id: Cell::unnamed_id(),
            paper: self.request.paper.to_string(),
            table: experiment.name.clone(),
            row: row.name.clone(),
            keys: point.keys.clone(),
            kind: row.kind.clone(),
            spec,
            seed,
            data: self.request.data.name(),
            needs: BTreeMap::new(),
        };
        let label = cell.short_label();
        if let Some(start) = self.open.iter().position(|open| *open == label) {
            let mut cycle = self.open[start..].to_vec();
            cycle.push(label);
            return Err(Error::file(
                &experiment.file,
                format!("needs form a cycle: {}", cycle.join(" -> ")),
            ));
        }
        if self.open.len() == MAX_DEPTH {
            let message = format!(
                "row[{}]: expected at most {MAX_DEPTH} cells that need each other in a row, got more",
                row.name
            );
            return Err(Error::file(&experiment.file, message));
        }
        self.open.push(label);
        for (role, need) in &row.needs {
            let ids =
                self.needed(experiment, row, role, need.at(self.request.preset), point, seed)?;
            cell.needs.insert(role.clone(), ids);
        }
        self.open.pop();
        let cell = cell.named();
        let id = cell.id.clone();
        if !self.known.contains_key(&id) {
            self.known.insert(id.clone(), self.cells.len());
            self.cells.push(cell);
        }
        Ok(id)
    }

    fn needed(
        &mut self,
        experiment: &'a Experiment,
        row: &Row,
        role: &str,
        need: &Need,
        point: &Point<'a>,
        seed: u64,
    ) -> Result<Vec<CellId>> {
        let wrong = |message: String| {
            Error::file(&experiment.file, format!("row[{}].needs.{role}: {message}", row.name))
        };
        let table = match &need.table {
            Some(name) => find_table(self.request.experiments, name).map_err(&wrong)?,
            None => experiment,
        };
        let found = table.rows.iter().find(|other| other.name == need.row);
        let hint = || nearest::hint(&need.row, table.rows.iter().map(|other| other.name.as_str()));
        let other = found.ok_or_else(|| {
            wrong(format!("no row `{}` in table `{}`{}", need.row, table.name, hint()))
        })?;
        // In columns that both rows have, the values have to agree.
        let fits = |candidate: &Point| {
            let clash = |(column, value): &(String, String)| {
                point.keys.iter().any(|(mine, own)| mine == column && own != value)
            };
            !candidate.keys.iter().any(clash)
        };
        let points: Vec<Point> = self.points(table, other)?.into_iter().filter(fits).collect();
        let [point] = points.as_slice() else {
            let message = format!(
                "expected one cell of `{}/{}` for each seed, got {} points of its grids",
                table.name,
                other.name,
                points.len()
            );
            return Err(wrong(message));
        };
        let own = [seed];
        let seeds = need.seeds.as_ref().map_or(own.as_slice(), |seeds| seeds.0.as_slice());
        seeds.iter().map(|seed| self.cell(table, other, point, *seed)).collect()
    }
}

/// A grid value as the text of its key column: lists as `800x800`, strings without quotes.
fn key_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(key_text).collect::<Vec<_>>().join("x"),
        other => canonical(other),
    }
}
