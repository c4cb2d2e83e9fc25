//! What the unfinished cells of a plan cost, as far as somebody knows.

use std::collections::BTreeMap;
use std::fmt;

use kd_base::message;

use super::Array;
use crate::duration::duration;
use crate::{Cell, Paper, Plan, Result, Store, check};

/// The cells of a job array, and the seconds that they take; none where nobody knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    cells: usize,
    tasks: usize,
    work: Option<f64>,
    /// The longest task's; of several arrays, one after the other where they depend on each other.
    longest: Option<f64>,
}

impl Default for Cost {
    fn default() -> Self {
        Self { cells: 0, tasks: 0, work: Some(0.), longest: Some(0.) }
    }
}

impl Cost {
    /// Adds a task with these cells.
    pub(super) fn add_task(&mut self, cells: &[Option<f64>]) {
        let seconds = cells.iter().copied().sum::<Option<f64>>();
        self.cells += cells.len();
        self.tasks += 1;
        self.work = self.work.zip(seconds).map(|(a, b)| a + b);
        self.longest = self.longest.zip(seconds).map(|(a, b)| f64::max(a, b));
    }

    /// All of several arrays, in the order of their dependency.
    pub(super) fn of_arrays(arrays: &[Array]) -> Self {
        let mut whole = Self::default();
        // When each array has ended, with a machine for every task.
        let mut ends: Vec<Option<f64>> = Vec::new();
        for array in arrays {
            let Cost { cells, tasks, work, longest } = array.cost;
            let before = arrays.iter().zip(&ends);
            let before = before.filter(|(other, _)| array.group.depends_on(other.group));
            let start = before.map(|(_, end)| *end).try_fold(0., |a, b| Some(f64::max(a, b?)));
            let end = start.zip(longest).map(|(start, longest)| start + longest);
            ends.push(end);
            whole.cells += cells;
            whole.tasks += tasks;
            whole.work = whole.work.zip(work).map(|(a, b)| a + b);
            whole.longest = whole.longest.zip(end).map(|(a, b)| f64::max(a, b));
        }
        whole
    }

    /// `2 cells in 2 tasks, about 20m of work, 10m at least`.
    pub(super) fn of_tasks(&self, tasks: usize) -> String {
        let counts =
            format!("{} in {}", message::count(self.cells, "cell"), message::count(tasks, "task"));
        match (self.work, self.longest) {
            (Some(work), Some(longest)) => {
                let [work, longest] = [work, longest].map(duration);
                format!("{counts}, about {work} of work, {longest} with a machine for each task")
            }
            _ => format!("{counts}, of which nobody knows how long they take"),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of_tasks(self.tasks))
    }
}

/// The seconds of each unfinished cell by its index in the plan: what a finished cell of the same
/// row took, with another seed perhaps, or else what the paper expects.
pub(super) fn of_cells<P: Paper>(
    paper: &P,
    plan: &Plan,
    store: &Store,
) -> Result<BTreeMap<usize, Option<f64>>> {
    let specs = check(paper, plan, &plan.cells)?;
    let row = |cell: &Cell| (cell.table.clone(), cell.row.clone(), cell.keys.clone());
    let mut taken: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut unfinished = Vec::new();
    for (index, cell) in plan.cells.iter().enumerate() {
        match store.result(cell)? {
            Some(result) => taken.entry(row(cell)).or_default().push(result.seconds),
            None => unfinished.push((index, cell)),
        }
    }
    let cost = |cell: &Cell| match taken.get(&row(cell)) {
        Some(seconds) => Some(seconds.iter().sum::<f64>() / seconds.len() as f64),
        None => specs.get(&cell.id).and_then(|parsed| paper.cost(&parsed.spec)),
    };
    Ok(unfinished.into_iter().map(|(index, cell)| (index, cost(cell))).collect())
}
