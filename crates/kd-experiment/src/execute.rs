//! Running the cells of a plan.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kd_base::{Fault, message};

use crate::cell::{Cell, CellId};
use crate::check::check;
use crate::error::{CellFailure, Error, Reason, Result};
use crate::failure::Failure;
use crate::finished::Needed;
use crate::holder::{self, Holder};
use crate::paper::{Job, Paper};
use crate::plan::{Group, Plan, Shard};
use crate::progress::Progress;
use crate::result::CellResult;
use crate::store::{CellDir, CellState, Entry, Store};

/// What a call of [`execute`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Cells that this process ran.
    pub ran: usize,
    /// Cells that were finished already, or were finished by another process in the meantime.
    pub found: usize,
}

/// The time between two looks at cells that other processes hold: it grows from the first to the
/// second, so that many who wait do not keep a file server busy.
const POLL: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// Runs the cells of the shard that are not finished, in the plan's order, one at a time.
///
/// All cells of the shard are checked before the first is run. Cells that another process holds are
/// passed over and awaited at the end. A cell that fails does not stop the others, but for those
/// that need it, unless the options say so; finished cells stay, and a later call tries the failed
/// ones again. A cell's folder says why it failed. A [request to stop](kd_base::stop) ends the run.
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
    /// The cells that are wanted, of the plan or of the group; what they need is run too, but for a
    /// group.
    pub shard: Shard,
    /// The group that alone is wanted, where there is one. What its cells need has to be finished by
    /// others: a cell is not run where that neither is nor is being done. Otherwise each student of
    /// a teacher that failed would try the teacher again.
    pub group: Option<Group>,
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
    /// The cells that failed, and those that need one of them, in their order.
    failures: RefCell<Vec<(CellId, CellFailure)>>,
    progress: &'a dyn Progress,
}

enum Outcome {
    Ran,
    Found,
    /// Another process holds the cell, or one that it needs, and perhaps says who it is.
    Held(Option<Holder>),
    /// It failed, or one that it needs did.
    Failed,
}

impl<P: Paper + ?Sized> Executor<'_, P> {
    fn run(&self) -> Result<Summary> {
        let RunOptions { shard, group, .. } = *self.options;
        let wanted = match group {
            Some(group) => {
                let known = self.plan.groups();
                if known.iter().all(|(other, _)| *other != group) {
                    let known: Vec<String> = known.iter().map(|(g, _)| g.to_string()).collect();
                    let what = format!("group {group}: expected one of {}", known.join(", "));
                    return Err(Error::bad_input(what));
                }
                self.plan.group_shard(group, shard)
            }
            None => self.plan.shard(shard),
        };
        let wanted: Vec<&Cell> = wanted.into_iter().map(|i| &self.plan.cells[i]).collect();
        let specs = check(self.paper, self.plan, self.with_needs(&wanted))?;
        let parsed = wanted.iter().filter_map(|cell| specs.get(&cell.id));
        let mut summary = Summary::default();
        let mut waiting: Vec<(usize, &Cell, &P::Spec)> =
            parsed.enumerate().map(|(i, parsed)| (i + 1, parsed.cell, &parsed.spec)).collect();
        let mut announced = false;
        let mut poll = POLL[0];
        while !waiting.is_empty() {
            let mut left = Vec::new();
            let mut holders = Vec::new();
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
                    Outcome::Held(holder) => {
                        left.push((number, cell, spec));
                        holders.extend(holder);
                    }
                    Outcome::Failed => {}
                }
            }
            if left.len() == waiting.len() {
                // Nothing could be done: every cell is held by another process, or needs one that
                // is.
                if !announced {
                    let first = left[0].1.label();
                    let count = message::count(left.len(), "cell");
                    let holder =
                        holders.first().map(|holder| format!(" ({})", holder.since_when()));
                    self.progress.note(&format!(
                        "waiting for {count} that another process runs, first {first}{}",
                        holder.unwrap_or_default()
                    ));
                    announced = true;
                }
                std::thread::sleep(poll);
                poll = (poll * 3 / 2).min(POLL[1]);
            } else {
                poll = POLL[0];
            }
            waiting = left;
        }
        self.failures()?;
        Ok(summary)
    }

    /// Cells with all that they need, in the plan's order.
    fn with_needs(&self, cells: &[&Cell]) -> Vec<&Cell> {
        let mut wanted: BTreeSet<&CellId> = cells.iter().map(|cell| &cell.id).collect();
        let mut all = Vec::new();
        for cell in self.plan.cells.iter().rev() {
            if wanted.contains(&cell.id) {
                wanted.extend(cell.needs.values().flatten());
                all.push(cell);
            }
        }
        all.reverse();
        all
    }

    /// Tells of a failure and remembers it.
    fn failed(&self, cell: &Cell, error: Error) -> Outcome {
        self.progress.note(&format!("failed {}", message::one_line(&error)));
        let place = holder::log().unwrap_or_else(|| self.store.dir(cell));
        let reason = Reason::Failed { error: Box::new(error), place };
        self.remember(cell, reason)
    }

    /// Remembers that a cell is not run for want of another, of which something may be known.
    fn wants(&self, cell: &Cell, other: &str, fault: Fault) -> Outcome {
        self.remember(cell, Reason::Wants { cell: other.to_owned(), fault })
    }

    fn remember(&self, cell: &Cell, reason: Reason) -> Outcome {
        let failure = CellFailure { cell: cell.label(), reason };
        self.failures.borrow_mut().push((cell.id.clone(), failure));
        Outcome::Failed
    }

    /// Fails where a cell failed.
    fn failures(&self) -> Result<()> {
        let failures: Vec<CellFailure> = self.failures.take().into_iter().map(|(_, f)| f).collect();
        if failures.is_empty() {
            return Ok(());
        }
        let ours = failures.iter().any(|failure| failure.fault() == Fault::Program);
        let fault = if ours { Fault::Program } else { Fault::BadInput };
        Err(Error::Failed { failures, fault })
    }

    /// A cell that this one needs and that failed, and whose fault it was.
    fn needs_a_failed_one(&self, cell: &Cell) -> Option<(String, Fault)> {
        let failures = self.failures.borrow();
        let needs = cell.needs.values().flatten();
        let failed = needs.filter_map(|id| failures.iter().find(|(failed, _)| failed == id));
        failed.map(|(_, failure)| (failure.cell.clone(), failure.fault())).next()
    }

    /// What becomes of a cell that needs `other`, which is not finished.
    fn without(&self, cell: &Cell, other: &Cell) -> Result<Outcome> {
        let held = match self.store.state(other)? {
            CellState::Running => self.store.holder(other)?.map(|(holder, _)| holder),
            // Finished in the meantime.
            CellState::Done => None,
            // It is among those that this run does.
            _ if self.options.group.is_none() => None,
            _ => {
                let (known, fault) = match self.store.failure(other)? {
                    Some(failure) => (format!("failed: {}", failure.cause), failure.fault()),
                    None => ("is not finished".to_owned(), Fault::Program),
                };
                return Ok(self.wants(cell, &format!("{}, which {known}", other.label()), fault));
            }
        };
        Ok(Outcome::Held(held))
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
        if let Some((other, fault)) = self.needs_a_failed_one(cell) {
            return Ok(self.wants(cell, &other, fault));
        }
        let needed = match self.gather(cell)? {
            Ok(needed) => needed,
            Err(other) => return self.without(cell, other),
        };
        let note = |text: &str| self.progress.note(text);
        let dir = match self.store.enter(cell, &note)? {
            Entry::Done(_) => return Ok(Outcome::Found),
            Entry::Busy(holder) => return Ok(Outcome::Held(holder)),
            Entry::Entered(dir) => dir,
        };
        self.progress.cell_started(cell, number, total);
        let result = match self.compute(cell, spec, &needed, &dir) {
            Ok(result) => result,
            Err(error) => {
                if error.fault() != Fault::Stopped {
                    // The cell's own error is the one to tell of.
                    let _ = dir.fail(&Failure::of(&error));
                }
                return Err(error);
            }
        };
        if !dir.finish(&result)? {
            let label = cell.label();
            note(&format!("{label}: another machine took this process for dead and has the cell"));
            return Ok(Outcome::Held(None));
        }
        self.progress.cell_finished(cell, &result);
        Ok(Outcome::Ran)
    }

    /// The result of a cell, complete.
    fn compute(
        &self,
        cell: &Cell,
        spec: &P::Spec,
        needed: &Needed,
        dir: &CellDir,
    ) -> Result<CellResult> {
        let start = Instant::now();
        let job = Job { cell, dir, needed, progress: self.progress };
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
        Ok(result)
    }

    /// The results that a cell needs, or the first cell among them that is not finished yet.
    fn gather(&self, cell: &Cell) -> Result<Result<Needed, &Cell>> {
        let mut roles = Vec::new();
        for (role, ids) in &cell.needs {
            let mut finished = Vec::with_capacity(ids.len());
            for other in ids.iter().filter_map(|id| self.plan.cell(id)) {
                match self.store.finished(other)? {
                    Some(other) => finished.push(other),
                    None => return Ok(Err(other)),
                }
            }
            roles.push((role.clone(), finished));
        }
        Ok(Ok(roles.into_iter().collect()))
    }
}
