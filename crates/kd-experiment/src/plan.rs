//! A plan: the cells to run, in order, and the tables that they fill.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::cell::{Cell, CellId};
use super::error::Error;
use super::metric::Metric;
use super::preset::Preset;
use kd_base::nearest;

/// The cells of the selected tables and of everything they need, each once, after the cells that it
/// needs itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In an order in which they can be run.
    pub cells: Vec<Cell>,
    /// The selected tables.
    pub tables: Vec<TablePlan>,
}

/// A table, and the cells of each of its lines.
#[derive(Debug, Clone, PartialEq)]
pub struct TablePlan {
    /// The table's name.
    pub name: String,
    /// A heading for people.
    pub title: String,
    /// Authors, year, table or section.
    pub source: String,
    /// What the table shows.
    pub claim: String,
    /// The experiment file, for messages.
    pub file: String,
    /// The budget.
    pub preset: Preset,
    /// The data set's name.
    pub dataset: String,
    /// Whether the published numbers are of this data.
    pub comparable: bool,
    /// The key columns of the rows, in order of appearance.
    pub columns: Vec<String>,
    /// The lines, in the experiment file's order.
    pub lines: Vec<Line>,
    /// The rows that the experiment file has at other presets alone.
    pub elsewhere: Vec<String>,
}

impl TablePlan {
    /// Checks that the lines which `cell` fills ask for numbers that its result may have.
    ///
    /// Errors: one of them is not among `metrics`; the nearest is named.
    pub fn check_metrics(&self, cell: &Cell, metrics: &[String]) -> Result<(), Error> {
        let strange = self
            .lines
            .iter()
            .find(|line| line.cells.contains(&cell.id) && !metrics.contains(&line.key));
        strange.map_or(Ok(()), |line| {
            Err(self.no_metric(line, cell, metrics.iter().map(String::as_str)))
        })
    }

    /// What is said where a line asks for a number that `cell` does not have among `metrics`.
    pub(crate) fn no_metric<'a>(
        &self,
        line: &Line,
        cell: &Cell,
        metrics: impl IntoIterator<Item = &'a str>,
    ) -> Error {
        let hint = nearest::hint(&line.key, metrics);
        Error::file(
            &self.file,
            format!(
                "row {}: the result of {} has no metric `{}`{hint}",
                line.row,
                cell.label(),
                line.key
            ),
        )
    }
}

/// One line of a table: a row at a point of its grids, and one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The table's row.
    pub row: String,
    /// Key columns and values.
    pub keys: Vec<(String, String)>,
    /// Metric and unit.
    pub metric: Metric,
    /// The key of the number in a cell's result.
    pub key: String,
    /// One cell for each seed.
    pub cells: Vec<CellId>,
}

impl Plan {
    /// The cell with this name, if it belongs to the plan.
    pub fn cell(&self, id: &CellId) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.id == *id)
    }

    /// The indices of the cells that a shard runs: those whose index modulo N is I-1, and
    /// everything they need. Shards of one store never run a needed cell twice, because the
    /// store locks it; on separate stores each runs its own copy.
    pub fn shard(&self, shard: Shard) -> Vec<usize> {
        let mut wanted: BTreeSet<&CellId> = BTreeSet::new();
        let mut indices = Vec::new();
        // Backwards: a cell comes after what it needs, so needs are met after the cells that want
        // them.
        for (index, cell) in self.cells.iter().enumerate().rev() {
            if index % shard.count == shard.index || wanted.contains(&cell.id) {
                indices.push(index);
                wanted.extend(cell.needs.values().flatten());
            }
        }
        indices.reverse();
        indices
    }

    /// The cells by groups, each in the plan's order, each group after those that it depends on:
    /// all that have the same [`Group`]. Whether a cell is finished plays no part.
    pub fn groups(&self) -> Vec<(Group, Vec<usize>)> {
        let mut levels: BTreeMap<&CellId, usize> = BTreeMap::new();
        let mut needed: BTreeSet<&CellId> = BTreeSet::new();
        for cell in &self.cells {
            // A cell stands behind those that it needs.
            let below = cell.needs.values().flatten().filter_map(|id| levels.get(id)).max();
            let level = below.map_or(0, |below| below + 1);
            levels.insert(&cell.id, level);
            needed.extend(cell.needs.values().flatten());
        }
        let mut groups: BTreeMap<Group, Vec<usize>> = BTreeMap::new();
        for (index, cell) in self.cells.iter().enumerate() {
            let level = levels.get(&cell.id).copied().unwrap_or_default();
            let group = Group { level, last: !needed.contains(&cell.id) };
            groups.entry(group).or_default().push(index);
        }
        groups.into_iter().collect()
    }

    /// The indices of the cells of a group that a shard runs: those whose place in the group modulo
    /// N is I-1, without what they need.
    pub fn group_shard(&self, group: Group, shard: Shard) -> Vec<usize> {
        let all = self.groups().into_iter().find(|(other, _)| *other == group);
        let all = all.map(|(_, indices)| indices).unwrap_or_default();
        shard.of(all)
    }
}

/// Cells of a plan that may run at the same time, once others are finished.
///
/// Level 0 needs no other cell; level n needs one of level n-1, and perhaps of lower ones. Of each
/// level those that others need, teachers for instance, are one group, `needed-n`, and those that no
/// other needs are another, `last-n`: only the former have to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    level: usize,
    last: bool,
}

impl Group {
    /// Whether this one needs cells of `other`.
    pub fn depends_on(self, other: Self) -> bool {
        !other.last && other.level < self.level
    }
}

impl FromStr for Group {
    type Err = String;

    /// Reads `needed-N` or `last-N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('-').and_then(|(name, n)| Some((name, n.parse().ok()?)));
        match parts {
            Some(("needed", level)) => Ok(Self { level, last: false }),
            Some(("last", level)) => Ok(Self { level, last: true }),
            _ => Err(format!("expected needed-N or last-N, for instance needed-0, got `{text}`")),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", if self.last { "last" } else { "needed" }, self.level)
    }
}

/// Part I of N of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// The whole plan.
    pub const ALL: Shard = Shard { index: 0, count: 1 };

    /// Those of `all` whose place modulo N is I-1.
    pub fn of<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.index).step_by(self.count).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Reads `I/N` with 1 ≤ I ≤ N.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
        match parts {
            Some((i, n)) if 1 <= i && i <= n => Ok(Shard { index: i - 1, count: n }),
            _ => Err(format!("expected I/N with 1 <= I <= N, for instance 1/2, got `{text}`")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_and_checked() {
        for text in ["needed-0", "last-12"] {
            assert_eq!(text.parse::<Group>().unwrap().to_string(), text);
        }
        for text in ["needed", "last-", "first-1", "last--1", ""] {
            assert!(text.parse::<Group>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_shards_of_a_list_are_disjoint_and_all_of_it() {
        let shard =
            |i: usize| format!("{i}/3").parse::<Shard>().unwrap().of(vec!['a', 'b', 'c', 'd']);
        assert_eq!([1, 2, 3].map(shard), [vec!['a', 'd'], vec!['b'], vec!['c']]);
        assert_eq!("5/5".parse::<Shard>().unwrap().of(vec!['a']), []);
    }

    #[test]
    fn shards_are_read_and_checked() {
        assert_eq!("2/3".parse::<Shard>().unwrap().to_string(), "2/3");
        for text in ["0/2", "3/2", "1", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
