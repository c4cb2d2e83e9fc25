//! Which rungs a sweep has for its budget, and what is said of them before it starts.

use std::io::Write;

use kd_base::message;

use super::Sweep;
use crate::cli::output::say;
use crate::duration::duration;
use crate::plan::Line;
use crate::sweep::{Halving, Trial};
use crate::{CellId, Error, Paper, Plan, Result, check};

/// So many points in a share of their epochs; the whole grid is one of all.
pub(super) struct Rung {
    pub points: usize,
    pub share: f64,
    pub epochs: Option<usize>,
    pub cost: Option<f64>,
}

impl Rung {
    /// Its epochs in words.
    pub(super) fn name(&self) -> String {
        self.epochs.map_or_else(|| "all".to_owned(), |epochs| message::count(epochs, "epoch"))
    }
}

/// All rungs, and the seconds of what the row needs.
pub(super) struct Rungs {
    pub all: Vec<Rung>,
    pub grid: Option<f64>,
    pub needed: f64,
}

/// The estimates of a plan's cells.
struct Estimate {
    /// Seconds of all points; none where nobody knows.
    points: Option<f64>,
    /// Seconds of the cells that they need, as far as somebody knows.
    needed: f64,
    /// The fewest epochs of a point.
    epochs: Option<usize>,
}

impl<P: Paper> Sweep<'_, P> {
    fn estimate(&self, plan: &Plan) -> Result<Estimate> {
        let paper = self.application.paper;
        let of_points: Vec<&CellId> = lines(plan).iter().flat_map(|line| &line.cells).collect();
        let mut estimate = Estimate { points: Some(0.), needed: 0., epochs: None };
        for cell in &plan.cells {
            let spec = paper.read(cell).map_err(|error| error.of_cell(&cell.label()))?;
            let cost = paper.cost(&spec);
            if of_points.contains(&&cell.id) {
                estimate.points = estimate.points.zip(cost).map(|(all, cost)| all + cost);
                let epochs = paper.epochs(&spec);
                estimate.epochs = match (estimate.epochs, epochs) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            } else {
                estimate.needed += cost.unwrap_or_default();
            }
        }
        Ok(estimate)
    }

    /// The rungs for a budget in seconds: one of all points and epochs where the grid fits, or there
    /// is none. What is finished plays no part, so that the same command has the same rungs.
    pub(super) fn rungs(&self, budget: Option<f64>) -> Result<Rungs> {
        let whole = self.plan(&self.all(), 1.)?;
        check(self.application.paper, &whole, &whole.cells)?;
        let Estimate { points: grid, needed, epochs } = self.estimate(&whole)?;
        let count = self.points.len();
        let one = Rung { points: count, share: 1., epochs, cost: grid };
        let fault = |what: String| Err(Error::bad_input(format!("--budget: {what}")));
        let (budget, cost) = match (budget, grid) {
            (None, _) => return Ok(Rungs { all: vec![one], grid, needed }),
            (Some(_), None) => {
                return fault(format!(
                    "nobody knows how long cells of kind {} take; sweep without one",
                    self.trial.row.kind
                ));
            }
            (Some(budget), Some(cost)) => (budget, cost),
        };
        if cost + needed <= budget {
            return Ok(Rungs { all: vec![one], grid, needed });
        }
        let seconds = |share: f64| -> Result<f64> {
            let plan = self.plan(&self.all(), share)?;
            Ok(self.estimate(&plan)?.points.unwrap_or_default() / count as f64)
        };
        let plans = Halving::plans(count, epochs.unwrap_or_default(), seconds)?;
        let about = |points: f64| duration(points + needed);
        match Halving::within(plans, budget - needed) {
            Ok(found) => {
                let rung = |rung: &crate::sweep::Rung| -> Result<Rung> {
                    let plan = self.plan(&self.all(), rung.share)?;
                    let Estimate { points, epochs, .. } = self.estimate(&plan)?;
                    let cost = points.map(|all| all * rung.points as f64 / count as f64);
                    Ok(Rung { points: rung.points, share: rung.share, epochs, cost })
                };
                let all = found.rungs.iter().map(rung).collect::<Result<Vec<_>>>()?;
                Ok(Rungs { all, grid, needed })
            }
            Err(Some(cheapest)) => fault(format!(
                "{} is too little: the grid takes about {}, {} rungs about {}",
                duration(budget),
                about(cost),
                cheapest.rungs.len(),
                about(cheapest.cost)
            )),
            Err(None) => fault(format!(
                "{} is too little: the grid takes about {}, and {} of {} cannot be halved",
                duration(budget),
                about(cost),
                message::count(count, "point"),
                message::count(epochs.unwrap_or_default(), "epoch")
            )),
        }
    }

    /// Says what will be run.
    pub(super) fn state(
        &self,
        rungs: &Rungs,
        budget: Option<f64>,
        out: &mut dyn Write,
    ) -> Result<()> {
        let Trial { table, row, preset, axes, held_out, seeds, .. } = &self.trial;
        let (points, seeds) = (self.points.len(), seeds.0.len());
        say(
            out,
            format_args!(
                "{}/{} at preset {preset}: {} with {}, {}; {held_out} of the training images held out",
                table.name,
                row.name,
                message::count(points, "point"),
                message::count(seeds, "seed"),
                message::count(points * seeds, "cell"),
            ),
        )?;
        for axis in *axes {
            let values: Vec<String> = axis.values.iter().map(toml::Value::to_string).collect();
            say(out, format_args!("  {} = {}", axis.path, values.join(", ")))?;
        }
        let about = |seconds: Option<f64>| {
            seconds.map_or_else(
                || "nobody knows how long".to_owned(),
                |s| format!("about {}", duration(s)),
            )
        };
        if !row.needs.is_empty() {
            say(
                out,
                format_args!(
                    "what the row needs, without the held-out images: {}",
                    about(Some(rungs.needed))
                ),
            )?;
        }
        let [_, _, ..] = rungs.all.as_slice() else {
            return say(out, format_args!("the whole grid: {}", about(rungs.grid)));
        };
        say(
            out,
            format_args!(
                "the whole grid: {}, more than the budget of {}; in its place {} rungs, each of the best third of the one before in three times the epochs:",
                about(rungs.grid),
                duration(budget.unwrap_or_default()),
                rungs.all.len()
            ),
        )?;
        for (number, rung) in (1..).zip(&rungs.all) {
            let count = message::count(rung.points, "point");
            say(
                out,
                format_args!("  rung {number}: {count}, {}, {}", rung.name(), about(rung.cost)),
            )?;
        }
        say(
            out,
            "each rung trains anew: drops of the learning rate, warm-ups and averaged epochs are at the row's shares of the run",
        )
    }
}

/// The lines of the one table of a plan.
fn lines(plan: &Plan) -> &[Line] {
    plan.tables.first().map_or(&[], |table| table.lines.as_slice())
}
