//! Running the cells of a plan.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use kd_base::{Fault, message};

use crate::cell::{Cell, CellId};
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

/// Runs the cells of the shard that are not finished, in the plan's order, one at a time.
///
/// All cells of the shard are checked before the first is run. Cells that another process holds are
/// passed over and awaited at the end. A cell that fails does not stop the others, but for those
/// that need it, unless the options say so; finished cells stay, and a later call tries the failed
/// ones again. A [request to stop](kd_base::stop) ends the run.
///
/// # Errors
/// [`Error::Failed`] once the others are done, [`Error::Stopped`] on request, or, with
/// [`OnFailure::Stop`], the first failure, which names its cell.
pub fn execute<P: Paper + ?Sized>(
    paper: &P,
    plan: &Plan,
    store: &Store,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<Summary> {
    let failures = RefCell::default();
    let outcome = Executor { paper, plan, store, options, failures, progress }.run();
    progress.run_finished();
    outcome
}

/// How a plan is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions<'a> {
    /// The cells that are wanted; what they need is run too.
    pub shard: Shard,
    /// The commit that results record.
    pub commit: &'a str,
    /// What happens when a cell fails.
    pub on_failure: OnFailure,
}

/// What a run does when a cell fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes on with the cells that do not need it.
    GoOn,
    /// It ends.
    Stop,
}

/// A run of a plan.
struct Executor<'a, P: ?Sized> {
    paper: &'a P,
    plan: &'a Plan,
    store: &'a Store,
    options: &'a RunOptions<'a>,
    /// The cells that failed, in their order, with the reasons; those that need one of them with
    /// none.
    failures: RefCell<Vec<(CellId, Option<Error>)>>,
    progress: &'a dyn Progress,
}

enum Outcome {
    Ran,
    Found,
    /// Another process holds the cell, or one that it needs.
    Held,
    /// It failed, or one that it needs did.
    Failed,
}

impl<P: Paper + ?Sized> Executor<'_, P> {
    fn run(&self) -> Result<Summary> {
        let wanted: Vec<&Cell> = self
            .plan
            .shard(self.options.shard)
            .into_iter()
            .map(|index| &self.plan.cells[index])
            .collect();
        let specs = check(self.paper, self.plan, wanted.iter().copied())?;
        let parsed = wanted.iter().filter_map(|cell| specs.get(&cell.id));
        let mut summary = Summary::default();
        let mut waiting: Vec<(usize, &Cell, &P::Spec)> =
            parsed.enumerate().map(|(i, parsed)| (i + 1, parsed.cell, &parsed.spec)).collect();
        let mut announced = false;
        while !waiting.is_empty() {
            let mut left = Vec::new();
            for (number, cell, spec) in waiting.iter().copied() {
                let left_now = wanted.len() - summary.ran - summary.found;
                if kd_base::stop::asked() {
                    return Err(Error::Stopped { left: left_now, at: None });
                }
                let outcome = match self.attempt(cell, spec, (number, wanted.len())) {
                    Err(error) if error.fault() == Fault::Stopped => {
                        return Err(Error::Stopped { left: left_now, at: Some(Box::new(error)) });
                    }
                    Err(error) if self.options.on_failure == OnFailure::GoOn => {
                        self.failed(cell, error)
                    }
                    outcome => outcome?,
                };
                match outcome {
                    Outcome::Ran => summary.ran += 1,
                    Outcome::Found => summary.found += 1,
                    Outcome::Held => left.push((number, cell, spec)),
                    Outcome::Failed => {}
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
        self.failures()?;
        Ok(summary)
    }

    /// Tells of a failure and remembers it.
    fn failed(&self, cell: &Cell, error: Error) -> Outcome {
        self.progress.note(&format!("failed {}", message::one_line(&error)));
        self.failures.borrow_mut().push((cell.id.clone(), Some(error)));
        Outcome::Failed
    }

    /// Fails where a cell failed.
    fn failures(&self) -> Result<()> {
        let mut failed: Vec<Error> = Vec::new();
        let mut not_run = 0;
        for (_, reason) in self.failures.take() {
            match reason {
                Some(error) => failed.push(error),
                None => not_run += 1,
            }
        }
        let ours = failed.iter().any(|error| error.fault() == Fault::Program);
        let fault = if ours { Fault::Program } else { Fault::BadInput };
        let count = failed.len();
        match failed.into_iter().next() {
            Some(first) => {
                Err(Error::Failed { failed: count, not_run, first: Box::new(first), fault })
            }
            None => Ok(()),
        }
    }

    /// Whether one of the cells that this one needs failed.
    fn needs_a_failed_one(&self, cell: &Cell) -> bool {
        let failures = self.failures.borrow();
        cell.needs.values().flatten().any(|id| failures.iter().any(|(failed, _)| failed == id))
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
        if self.needs_a_failed_one(cell) {
            self.failures.borrow_mut().push((cell.id.clone(), None));
            return Ok(Outcome::Failed);
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
            result.commit = self.options.commit.to_string();
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
