//! Running the cells of a plan.

use std::time::{Duration, Instant};

use crate::cell::Cell;
use crate::check::check;
use crate::error::{Error, Result};
use crate::finished::Needed;
use crate::paper::{Job, Paper};
use crate::plan::{Plan, Shard};
use crate::progress::Progress;
use crate::store::{Entry, Store};

/// What a call of [`execute`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Cells that this process ran.
    pub ran: usize,
    /// Cells that were finished already, or were finished by another process in the meantime.
    pub found: usize,
}

/// How often the cells that other processes hold are looked at again.
const POLL: Duration = Duration::from_millis(200);

/// Runs the cells of `shard` that are not finished, in the plan's order, one at a time.
///
/// All cells of the shard are checked before the first is run. Cells that another process holds are
/// passed over and awaited at the end. The first error stops the run and names its cell; finished
/// cells stay, and a later call goes on from there.
pub fn execute<P: Paper + ?Sized>(
    paper: &P,
    plan: &Plan,
    store: &Store,
    shard: Shard,
    commit: &str,
    progress: &dyn Progress,
) -> Result<Summary> {
    let outcome = Executor { paper, plan, store, commit, progress }.run(shard);
    progress.run_finished();
    outcome
}

/// A run of a plan.
struct Executor<'a, P: ?Sized> {
    paper: &'a P,
    plan: &'a Plan,
    store: &'a Store,
    commit: &'a str,
    progress: &'a dyn Progress,
}

enum Outcome {
    Ran,
    Found,
    /// Another process holds the cell, or one that it needs.
    Held,
}

impl<P: Paper + ?Sized> Executor<'_, P> {
    fn run(&self, shard: Shard) -> Result<Summary> {
        let wanted: Vec<&Cell> =
            self.plan.shard(shard).into_iter().map(|index| &self.plan.cells[index]).collect();
        let specs = check(self.paper, self.plan, wanted.iter().copied())?;
        let parsed = wanted.iter().filter_map(|cell| specs.get(&cell.id));
        let mut summary = Summary::default();
        let mut waiting: Vec<(usize, &Cell, &P::Spec)> =
            parsed.enumerate().map(|(i, parsed)| (i + 1, parsed.cell, &parsed.spec)).collect();
        let mut announced = false;
        while !waiting.is_empty() {
            let mut left = Vec::new();
            for (number, cell, spec) in waiting.iter().copied() {
                match self.attempt(cell, spec, (number, wanted.len()))? {
                    Outcome::Ran => summary.ran += 1,
                    Outcome::Found => summary.found += 1,
                    Outcome::Held => left.push((number, cell, spec)),
                }
            }
            if left.len() == waiting.len() {
                // Nothing could be done: every cell is held by another process, or needs one that
                // is.
                if !announced {
                    let (count, first) = (left.len(), left[0].1.label());
                    self.progress.note(&format!(
                        "waiting for {count} cells that another process runs, first {first}"
                    ));
                    announced = true;
                }
                std::thread::sleep(POLL);
            }
            waiting = left;
        }
        Ok(summary)
    }

    fn attempt(
        &self,
        cell: &Cell,
        spec: &P::Spec,
        (number, total): (usize, usize),
    ) -> Result<Outcome> {
        if self.store.result(cell)?.is_some() {
            return Ok(Outcome::Found);
        }
        let Some(needed) = self.gather(cell)? else {
            return Ok(Outcome::Held);
        };
        let dir = match self.store.enter(cell)? {
            Entry::Done(_) => return Ok(Outcome::Found),
            Entry::Busy => return Ok(Outcome::Held),
            Entry::Entered(dir) => dir,
        };
        self.progress.cell_started(cell, number, total);
        let start = Instant::now();
        let job = Job { cell, dir: &dir, needed: &needed, progress: self.progress };
        let mut result =
            self.paper.run(spec, &job).map_err(|error| error.of_cell(&cell.label()))?;
        if result.seconds == 0.0 {
            result.seconds = start.elapsed().as_secs_f64();
        }
        if result.commit.is_empty() {
            result.commit = self.commit.to_string();
        }
        if result.device.is_empty() {
            result.device = "unknown".to_string();
        }
        if let Some(problem) = result.problem() {
            return Err(Error::failure(problem).of_cell(&cell.label()));
        }
        result.files = dir.hashes()?;
        dir.finish(&result)?;
        self.progress.cell_finished(cell, &result);
        Ok(Outcome::Ran)
    }

    /// The results that a cell needs; none where one is not finished yet.
    fn gather(&self, cell: &Cell) -> Result<Option<Needed>> {
        let mut roles = Vec::new();
        for (role, ids) in &cell.needs {
            let mut finished = Vec::with_capacity(ids.len());
            for other in ids.iter().filter_map(|id| self.plan.cell(id)) {
                match self.store.finished(other)? {
                    Some(other) => finished.push(other),
                    None => return Ok(None),
                }
            }
            roles.push((role.clone(), finished));
        }
        Ok(Some(roles.into_iter().collect()))
    }
}
