//! Running the cells of a plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cell::Cell;
use super::error::{AnyError, Result, RunError};
use super::needs::Needs;
use super::plan::{Plan, Shard};
use super::progress::Progress;
use super::result::CellResult;
use super::store::{CellDir, Entry, Store};
use super::table::Table;

/// What a paper brings: the meaning of its cells.
pub trait Paper: Sync {
    /// The name of its experiments, runs and results folders: the crate's name.
    fn name(&self) -> &'static str;

    /// Checks kind and spec strictly, for instance through [`Cell::spec_as`], and what the cell needs through [`Needs::expect`];
    /// called for every cell before any data is touched.
    fn check(&self, cell: &Cell, needs: &Needs) -> Result<(), AnyError>;

    /// The names of the numbers that a cell's result may have, for tables to be checked before anything is computed; none where nobody
    /// knows: a misspelt metric is then found when the table is written.
    fn metrics(&self, _cell: &Cell, _needs: &Needs) -> Result<Option<Vec<String>>, AnyError> {
        Ok(None)
    }

    /// Computes a cell. `dir` may hold what an earlier, killed attempt left: the cell continues from there, to the same numbers.
    fn run(&self, cell: &Cell, dir: &CellDir, needed: &Needed, progress: &dyn Progress) -> Result<CellResult, AnyError>;

    /// Estimated seconds for a cell, for listings; none where nobody knows.
    fn cost(&self, _cell: &Cell) -> Option<f64> {
        None
    }

    /// Writes further files of a table, its curves and pictures, into `out_dir`, and returns their paths. A pure function of the table:
    /// the same bytes each time, written with [`atomic::write_if_changed`](super::atomic::write_if_changed).
    fn decorate(&self, _table: &Table, _out_dir: &Path) -> Result<Vec<PathBuf>, AnyError> {
        Ok(Vec::new())
    }
}

/// A finished cell that another one needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The cell.
    pub cell: Cell,
    /// Its folder: checkpoints stand there.
    pub dir: PathBuf,
    /// Its result.
    pub result: CellResult,
}

/// The finished cells that a cell needs, by role.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needed {
    roles: BTreeMap<String, Vec<Finished>>,
}

impl Needed {
    /// The cells of a role, in the order of their seeds; empty where the experiment file names none.
    pub fn all(&self, role: &str) -> &[Finished] {
        self.roles.get(role).map_or(&[], Vec::as_slice)
    }

    /// The one cell of a role; an error where the experiment file names none or several.
    pub fn one(&self, role: &str) -> Result<&Finished, AnyError> {
        match self.all(role) {
            [one] => Ok(one),
            several => Err(crate::Error::bad_input(format!("needs.{role}: expected one cell, got {}", several.len())).into()),
        }
    }
}

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
/// All cells of the shard are checked before the first is run. Cells that another process holds are passed over and awaited at the
/// end. The first error stops the run and names its cell; finished cells stay, and a later call goes on from there.
pub fn execute(paper: &dyn Paper, plan: &Plan, store: &Store, shard: Shard, commit: &str, progress: &dyn Progress) -> Result<Summary> {
    let outcome = execute_cells(paper, plan, store, shard, commit, progress);
    progress.run_finished();
    outcome
}

/// Checks what these cells of the plan say and need, and that their results have the numbers that the plan's tables ask for; the first
/// error names its cell.
pub fn check<'a>(paper: &dyn Paper, plan: &Plan, cells: impl IntoIterator<Item = &'a Cell>) -> Result<()> {
    cells.into_iter().try_for_each(|cell| {
        let needs = Needs::of(plan, cell)?;
        paper.check(cell, &needs).map_err(|source| spec_error(cell, source))?;
        match paper.metrics(cell, &needs).map_err(|source| spec_error(cell, source))? {
            Some(metrics) => plan.tables.iter().try_for_each(|table| table.check_metrics(cell, &metrics)),
            None => Ok(()),
        }
    })
}

fn execute_cells(paper: &dyn Paper, plan: &Plan, store: &Store, shard: Shard, commit: &str, progress: &dyn Progress) -> Result<Summary> {
    let wanted: Vec<&Cell> = plan.shard(shard).into_iter().map(|index| &plan.cells[index]).collect();
    check(paper, plan, wanted.iter().copied())?;
    let mut summary = Summary::default();
    let mut waiting: Vec<(usize, &Cell)> = wanted.iter().copied().enumerate().collect();
    let mut told = false;
    while !waiting.is_empty() {
        let mut left = Vec::new();
        for (index, cell) in waiting.iter().copied() {
            let attempt = attempt(paper, plan, store, cell, commit, progress, (index + 1, wanted.len()))?;
            match attempt {
                Attempt::Ran => summary.ran += 1,
                Attempt::Found => summary.found += 1,
                Attempt::Held => left.push((index, cell)),
            }
        }
        if left.len() == waiting.len() {
            // Nothing could be done: every cell is held by another process, or needs one that is.
            if !told {
                progress.note(&format!("waiting for {} cells that another process runs, first {}", left.len(), left[0].1.label()));
                told = true;
            }
            std::thread::sleep(POLL);
        }
        waiting = left;
    }
    Ok(summary)
}

enum Attempt {
    Ran,
    Found,
    /// Another process holds the cell, or one that it needs.
    Held,
}

fn attempt(
    paper: &dyn Paper,
    plan: &Plan,
    store: &Store,
    cell: &Cell,
    commit: &str,
    progress: &dyn Progress,
    (index, total): (usize, usize),
) -> Result<Attempt> {
    if store.result(cell)?.is_some() {
        return Ok(Attempt::Found);
    }
    let Some(needed) = gather(plan, store, cell)? else {
        return Ok(Attempt::Held);
    };
    let dir = match store.enter(cell)? {
        Entry::Done(_) => return Ok(Attempt::Found),
        Entry::Busy => return Ok(Attempt::Held),
        Entry::Entered(dir) => dir,
    };
    progress.cell_started(cell, index, total);
    let start = Instant::now();
    let failed = |source: AnyError| RunError::Failed { cell: cell.label(), source };
    let mut result = paper.run(cell, &dir, &needed, progress).map_err(failed)?;
    if result.seconds == 0.0 {
        result.seconds = start.elapsed().as_secs_f64();
    }
    if result.commit.is_empty() {
        result.commit = commit.to_string();
    }
    if result.device.is_empty() {
        result.device = "unknown".to_string();
    }
    if let Some(problem) = result.problem() {
        return Err(failed(problem.into()));
    }
    dir.finish(&result)?;
    progress.cell_finished(cell, &result);
    Ok(Attempt::Ran)
}

/// The results that a cell needs; none where one is not finished yet.
fn gather(plan: &Plan, store: &Store, cell: &Cell) -> Result<Option<Needed>> {
    let mut needed = Needed::default();
    for (role, cells) in Needs::of(plan, cell)?.roles() {
        let mut finished = Vec::with_capacity(cells.len());
        for &other in cells {
            match store.result(other)? {
                Some(result) => finished.push(Finished { cell: other.clone(), dir: store.dir(other), result }),
                None => return Ok(None),
            }
        }
        needed.roles.insert(role.to_owned(), finished);
    }
    Ok(Some(needed))
}

/// An error of `check`: one of [`Cell::spec_as`] names the cell already.
fn spec_error(cell: &Cell, source: AnyError) -> RunError {
    match source.downcast::<RunError>() {
        Ok(error) => *error,
        Err(source) => RunError::Spec { cell: cell.label(), source },
    }
}
