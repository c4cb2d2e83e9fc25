//! `sweep TABLE/ROW`: a grid over a row's spec, measured on held-out training images.

mod outcome;
mod rungs;

use std::io::Write;
use std::path::PathBuf;

use kd_base::{Fault, atomic, message};

use super::application::Application;
use super::experiments;
use super::output::say;
use crate::duration::parse;
use crate::result::current_commit;
use crate::sweep::{ACCURACY, Axis, IMAGES, Point, Standing, Trial};
use crate::{
    CellFailure, DataIdentity, Error, ExpandRequest, Finished, OnFailure, Paper, Plan, Result,
    RunOptions, Shard, Store, Table, execute, expand, table,
};
use outcome::{Found, Outcome};
use rungs::Rungs;

/// The folder of the tables of sweeps in a folder of tables: what was chosen on held-out images does
/// not stand among what was measured on test images.
const SWEEPS: &str = "sweeps";

/// What `--help` says at the end.
const EXAMPLE: &str = "Example, of a table with a row `student-distilled`:
  sweep distillation/student-distilled --over method.temperature=2,4,8 --over method.hard-weight=0,1 --held-out 0.1 --budget 2h

Every point trains on the other images with the row's recipe and is measured on the held-out ones, once for each seed.
A teacher of the row is trained anew without these images, once; one that was trained elsewhere may have seen them.
The test images are not looked at. Results: a CSV and a picture in the folder `sweeps` beside the preset's tables, and the
chosen settings as a row for the table's file. Cells are named by their settings and stand in the run store like all others:
repeat the command to go on after a kill, and no cell is run twice. Where the budget is smaller than the estimated cost of
the grid, all points train for a part of their epochs, the best third of them for three times as many, and so on to all
(successive halving); each time anew, with the schedule's drops, warm-ups and averaged epochs at the same shares of the run.";

/// The arguments of `sweep`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Arguments {
    /// The row, at --preset, with its seeds there or --seeds
    #[arg(value_name = "TABLE/ROW")]
    pub row: String,
    /// A setting of the row's spec and the values to try, of TOML or text; given several times, each
    /// combination. At most 1000 cells
    #[arg(long, required = true, value_name = "KEY=VALUE,…")]
    over: Vec<Axis>,
    /// The share of the training images that is kept apart to measure on, above 0 and below 1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    held_out: f64,
    /// The most time that it may take by the estimates that `list` prints, teachers included,
    /// whether they are finished or not: 90s, 30m, 2h
    #[arg(long, value_name = "DURATION", value_parser = parse)]
    budget: Option<f64>,
    /// Print what would be run and what it costs, and end
    #[arg(long)]
    dry_run: bool,
    /// End at the first cell that fails, in place of going on with the other points
    #[arg(long)]
    fail_fast: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let read = text.trim().parse::<f64>().ok().filter(|share| *share > 0. && *share < 1.);
    read.ok_or_else(|| {
        format!("expected a share above 0 and below 1, for instance 0.1, got `{text}`")
    })
}

/// Runs the points that are not finished, as far as the budget goes, and prints what came out.
///
/// # Errors
/// Bad input that is found before anything is computed, and the failures of cells.
pub(super) fn run<P: Paper>(
    arguments: &Arguments,
    application: &Application<P>,
    out: &mut dyn Write,
) -> Result<()> {
    let Application { paper, options, .. } = application;
    let (mut experiments, _) = experiments::load(application)?;
    (application.adjust)(&mut experiments)?;
    let (of, row) = Trial::find(&experiments, &arguments.row, options.preset)?;
    let own = row.seeds.as_ref().unwrap_or(&of.seeds).at(options.preset);
    let seeds = options.seeds.as_ref().unwrap_or(own);
    let trial = Trial {
        experiments: &experiments,
        table: of,
        row,
        preset: options.preset,
        axes: &arguments.over,
        held_out: arguments.held_out,
        seeds,
    };
    let points = Point::product(&arguments.over, seeds.0.len())?;
    // What is wrong with the command is said before the data is asked for.
    trial.experiment(*paper, &points.iter().collect::<Vec<_>>(), 1.)?;
    let data = paper.identity()?;
    let columns = trial.columns();
    let stem = format!("{}-{}-over-{}", of.name, row.name, columns.join("-"));
    let dir = Table::dir(&options.out, application.name(), &data.dataset, options.preset);
    let sweep = Sweep {
        application,
        trial,
        points,
        columns,
        store: Store::new(&options.runs_dir, application.name()),
        stem,
        dir: dir.join(SWEEPS),
        data: &data,
    };
    let rungs = sweep.rungs(arguments.budget)?;
    atomic::check_dir(&options.runs_dir.join(application.name()))?;
    atomic::check_dir(&sweep.dir)?;
    Table::check_place(&sweep.dir, &sweep.stem)?;
    if let Some(note) = &data.note {
        application.progress.note(note);
    }
    sweep.state(&rungs, arguments.budget, out)?;
    if arguments.dry_run {
        return Ok(());
    }
    let on_failure = if arguments.fail_fast { OnFailure::Stop } else { OnFailure::GoOn };
    sweep.run(&rungs, on_failure, out)
}

/// A sweep at work.
struct Sweep<'a, P> {
    application: &'a Application<'a, P>,
    trial: Trial<'a>,
    points: Vec<Point>,
    columns: Vec<String>,
    store: Store,
    stem: String,
    dir: PathBuf,
    data: &'a DataIdentity,
}

impl<P: Paper> Sweep<'_, P> {
    /// The cells of these points in a share of their epochs.
    fn plan(&self, points: &[usize], share: f64) -> Result<Plan> {
        let points: Vec<&Point> = points.iter().filter_map(|&i| self.points.get(i)).collect();
        let made = self.trial.experiment(self.application.paper, &points, share)?;
        let selected = [made.name.clone()];
        expand(&ExpandRequest {
            paper: self.application.name(),
            experiments: &[made],
            selected: &selected,
            preset: self.trial.preset,
            data: self.data,
            seeds: None,
        })
    }

    fn all(&self) -> Vec<usize> {
        (0..self.points.len()).collect()
    }

    /// Runs rung by rung, and writes and prints what is finished.
    fn run(&self, rungs: &Rungs, on_failure: OnFailure, out: &mut dyn Write) -> Result<()> {
        let mut outcome = Outcome::default();
        let mut on = self.all();
        let last = rungs.all.len();
        for (number, rung) in (1..).zip(&rungs.all) {
            let plan = self.plan(&on, rung.share)?;
            let name = format!("rung {number} of {last}");
            if last > 1 {
                let count = message::count(on.len(), "point");
                self.application.progress.note(&format!("{name}: {count}, {}", rung.name()));
            }
            let failures = self.execute(&plan, on_failure)?;
            let found = self.standings(&plan, &on)?;
            let unfinished = found.cells - found.finished.len();
            if unfinished > 0 && (failures.is_empty() || self.application.options.shard.is_some()) {
                // Others have them. Which failed and which are not done yet, they know.
                let which = if last > 1 { format!("{name}: ") } else { String::new() };
                let (finished, cells) = (found.finished.len(), found.cells);
                say(
                    out,
                    format_args!(
                        "{which}{finished} of {cells} cells are finished; repeat the command when all are"
                    ),
                )?;
                return fail(failures);
            }
            outcome.add(&plan, (last > 1).then_some(number), rung.name(), found, failures);
            let Some((_, ranking)) = outcome.rungs.last() else { break };
            let next = rungs.all.get(number);
            let count = next.map_or(0, |next| next.points);
            let (going, tied) = ranking.cut(count);
            if count > 0 && !tied.is_empty() {
                let tied: Vec<String> = tied.iter().map(|&point| self.label(point)).collect();
                self.application.progress.note(&format!(
                    "{name}: as good as the last that goes on, and left behind: {}",
                    message::some(&tied)
                ));
            }
            if going.is_empty() {
                break;
            }
            on = going;
        }
        self.report(outcome, out)
    }

    /// Runs a rung's cells; gives those that failed.
    fn execute(&self, plan: &Plan, on_failure: OnFailure) -> Result<Vec<CellFailure>> {
        let Application { paper, options, progress, .. } = self.application;
        let commit = current_commit();
        let shard = options.shard.unwrap_or(Shard::ALL);
        let options = RunOptions { shard, group: None, commit: &commit, on_failure };
        match execute(*paper, plan, &self.store, &options, *progress) {
            Ok(_) => Ok(Vec::new()),
            Err(Error::Failed { failures, .. }) => Ok(failures),
            Err(other) => Err(other),
        }
    }

    /// What the finished cells of these points came to; a point without all of its seeds has no
    /// place.
    fn standings(&self, plan: &Plan, points: &[usize]) -> Result<Found> {
        let Some(of) = plan.tables.first() else { return Ok(Found::default()) };
        let (finished, count) = table::collect(&self.store, plan, of)?;
        let number = |cell: &Finished, name: &str| {
            cell.result.metrics.get(name).copied().ok_or_else(|| {
                Error::failure(format!("{}: its result has no {name}", cell.cell.label()))
            })
        };
        let mut standings = Vec::new();
        for (line, point) in of.lines.iter().zip(points) {
            let cells: Vec<&Finished> =
                line.cells.iter().filter_map(|id| finished.get(id)).collect();
            if cells.len() < line.cells.len() || cells.is_empty() {
                continue;
            }
            let accuracies =
                cells.iter().map(|cell| number(cell, ACCURACY)).collect::<Result<Vec<f64>>>()?;
            let images = number(cells[0], IMAGES)? as usize;
            standings.push(Standing::of(*point, &accuracies, images));
        }
        Ok(Found { standings, finished, cells: count.cells })
    }
}

/// The error of a run with these failures, if there are any.
fn fail(failures: Vec<CellFailure>) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let ours = failures.iter().any(|failure| failure.fault() == Fault::Program);
    let fault = if ours { Fault::Program } else { Fault::BadInput };
    Err(Error::Failed { failures, fault })
}
