//! What a sweep came to: its table, its picture and the choice.

use std::collections::BTreeMap;
use std::io::Write;

use kd_base::{atomic, message};

use super::{Sweep, fail};
use crate::cli::output::{output_error, say};
use crate::sweep::axis::RUNG;
use crate::sweep::picture::Picture;
use crate::sweep::{Ranking, Standing, chosen};
use crate::{
    CellFailure, CellId, Finished, Paper, Plan, References, Result, TablePlan, pretty, table,
};

/// The finished cells of a rung.
#[derive(Default)]
pub(super) struct Found {
    pub standings: Vec<Standing>,
    pub finished: BTreeMap<CellId, Finished>,
    /// Cells of its points, finished or not.
    pub cells: usize,
}

/// What the rungs came to.
#[derive(Default)]
pub(super) struct Outcome {
    /// The table of all rungs.
    pub plan: Option<TablePlan>,
    pub finished: BTreeMap<CellId, Finished>,
    /// The rankings, with the epochs of each rung in words.
    pub rungs: Vec<(String, Ranking)>,
    /// Cells that were wanted.
    pub cells: usize,
    pub failures: Vec<CellFailure>,
}

impl Outcome {
    /// Adds a rung; where there are several, its lines have its number as a key.
    pub(super) fn add(
        &mut self,
        plan: &Plan,
        number: Option<usize>,
        name: String,
        found: Found,
        failures: Vec<CellFailure>,
    ) {
        let Some(of) = plan.tables.first() else { return };
        let mut lines = of.lines.clone();
        let whole = self.plan.get_or_insert_with(|| TablePlan { lines: Vec::new(), ..of.clone() });
        if let Some(number) = number {
            if !whole.columns.iter().any(|column| column == RUNG) {
                whole.columns.push(RUNG.to_owned());
            }
            for line in &mut lines {
                line.keys.push((RUNG.to_owned(), number.to_string()));
            }
        }
        whole.lines.extend(lines);
        self.cells += found.cells;
        self.finished.extend(found.finished);
        self.rungs.push((name, Ranking::new(found.standings)));
        self.failures.extend(failures);
    }
}

impl<P: Paper> Sweep<'_, P> {
    /// Writes the table and the picture, and prints them and the choice.
    pub(super) fn report(&self, outcome: Outcome, out: &mut dyn Write) -> Result<()> {
        let Outcome { plan, finished, rungs, cells, failures } = outcome;
        if failures.len() > 1 {
            let note = |failure: &CellFailure| self.application.progress.note(&failure.to_string());
            failures.iter().for_each(note);
        }
        if let Some(plan) = plan.filter(|_| !finished.is_empty()) {
            let count = finished.len();
            let plan = TablePlan { name: self.stem.clone(), comparable: false, ..plan };
            let derived = table::derive(&plan, finished, &References::default())?;
            let mut paths = vec![derived.write_csv(&self.dir)?];
            let picture = Picture {
                title: &format!("{} ({}, {})", plan.title, plan.dataset, plan.preset),
                axes: self.trial.axes,
                columns: &self.columns,
                points: &self.points,
                rungs: &rungs,
            };
            if let Some(svg) = picture.to_svg()? {
                let path = self.dir.join(format!("{}.svg", self.stem));
                atomic::write_if_changed(&path, svg.as_bytes())?;
                paths.push(path);
            }
            write!(out, "{}", pretty::render(&derived)).map_err(output_error)?;
            if count < cells {
                say(out, format_args!("partial: {count} of {cells} cells are finished"))?;
            }
            for path in paths {
                say(out, format_args!("-> {}", path.display()))?;
            }
            self.choice(&rungs, out)?;
        }
        fail(failures)
    }

    /// The points that were not told apart from the best one where they were measured last, in the
    /// order of the grid.
    fn near(&self, rungs: &[(String, Ranking)], best: usize) -> Vec<String> {
        let mut found: BTreeMap<usize, String> = BTreeMap::new();
        for (name, ranking) in rungs {
            // A later rung says more.
            found.retain(|point, _| ranking.of(*point).is_none());
            let at = match (rungs.len(), ranking.of(best)) {
                (2.., Some(best)) => format!(" in {name}, where that had {}", percent(best)),
                _ => String::new(),
            };
            let near = ranking.near(best);
            found.extend(near.map(|other| {
                (other.point, format!("{} ({}{at})", self.label(other.point), percent(other)))
            }));
        }
        found.into_values().collect()
    }

    pub(super) fn label(&self, point: usize) -> String {
        self.points.get(point).map_or(String::new(), |point| {
            let own = self.columns.len() - self.trial.axes.len();
            chosen::label(&self.columns[own..], point)
        })
    }

    /// The best point, those that are not told apart from it, and the row for an experiment file.
    fn choice(&self, rungs: &[(String, Ranking)], out: &mut dyn Write) -> Result<()> {
        let mut from_last = rungs.iter().rev();
        let Some(best) = from_last.find_map(|(_, ranking)| ranking.best()) else { return Ok(()) };
        let of = rungs.first().map_or(0, |(_, first)| first.0.len());
        let images = message::count(best.images, "held-out image");
        say(
            out,
            format_args!(
                "\nbest of {}: {}, {} of {images}, {}",
                message::count(of, "point"),
                self.label(best.point),
                percent(best),
                message::count(best.n, "seed")
            ),
        )?;
        let near = self.near(rungs, best.point);
        if !near.is_empty() {
            say(out, "not told apart from it, by two standard errors of the difference:")?;
            near.iter().try_for_each(|other| say(out, format_args!("  {other}")))?;
        }
        if best.n == 1 {
            say(out, "one seed: how far seeds differ is not known; --seeds 1..3 would say it")?;
        }
        let Some(point) = self.points.get(best.point) else { return Ok(()) };
        for (axis, value) in self.trial.axes.iter().zip(&point.values) {
            if let Some(end) = axis.end(value) {
                say(
                    out,
                    format_args!(
                        "{} = {value} is the {end} that was tried: better ones may lie beyond",
                        axis.path
                    ),
                )?;
            }
        }
        let table = &self.trial.table.name;
        say(out, format_args!("\nfor {table}.toml, below row {}:\n", self.trial.row.name))?;
        write!(out, "{}", chosen::row(&self.trial, point)).map_err(output_error)
    }
}

/// `72.31 ± 0.20 %`.
fn percent(standing: &Standing) -> String {
    match standing.std {
        Some(std) => format!("{:.2} ± {std:.2} %", standing.mean),
        None => format!("{:.2} %", standing.mean),
    }
}
