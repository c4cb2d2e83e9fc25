//! What Slurm's queue says of the jobs that were submitted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::jobs_root;
use super::sbatch::ask;

/// The file of a submission's folder that names its jobs: a number and a name on each line.
pub(super) const RECORD: &str = "jobs.txt";

/// A line for each of a paper's jobs that is in the queue: `job 12 (needed-0): 2 running, 3 pending
/// (Priority)`. None where there is no Slurm here, or nothing in it.
pub(in crate::cli) fn jobs(runs: &Path, paper: &str) -> Vec<String> {
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(jobs_root(runs, paper)).into_iter().flatten().flatten() {
        let record = fs::read_to_string(entry.path().join(RECORD)).unwrap_or_default();
        for (id, name) in record.lines().filter_map(|line| line.split_once(' ')) {
            names.insert(id.to_owned(), name.to_owned());
        }
    }
    if names.is_empty() {
        return Vec::new();
    }
    let format = ["--me", "--array", "--noheader", "--format=%F %T %r"];
    ask("squeue", &format).map(|queue| lines(&names, &queue)).unwrap_or_default()
}

/// The queue's tasks, counted by job, state and reason.
fn lines(names: &BTreeMap<String, String>, queue: &str) -> Vec<String> {
    let mut counts: BTreeMap<(u64, &str), BTreeMap<String, usize>> = BTreeMap::new();
    for line in queue.lines() {
        let mut fields = line.trim().splitn(3, ' ');
        let (Some(id), Some(state)) = (fields.next(), fields.next()) else { continue };
        let (Some(name), Ok(number)) = (names.get(id), id.parse()) else { continue };
        let reason = fields.next().filter(|reason| !["None", "(null)"].contains(reason));
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let state = format!("{}{reason}", state.to_lowercase());
        *counts.entry((number, name)).or_default().entry(state).or_default() += 1;
    }
    let line = |((id, name), states): ((u64, &str), BTreeMap<String, usize>)| {
        let states: Vec<String> = states.iter().map(|(state, n)| format!("{n} {state}")).collect();
        format!("job {id} ({name}): {}", states.join(", "))
    };
    counts.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_counted_by_job_state_and_reason_and_other_jobs_left_out() {
        let names = [("12", "needed-0"), ("13", "last-1")];
        let names = names.map(|(id, name)| (id.to_owned(), name.to_owned())).into_iter().collect();
        let queue = "12 RUNNING None\n12 RUNNING None\n99 RUNNING None\n13 PENDING Dependency\n\
                     12 PENDING Resources\nnonsense\n";
        assert_eq!(
            lines(&names, queue),
            [
                "job 12 (needed-0): 1 pending (Resources), 2 running",
                "job 13 (last-1): 1 pending (Dependency)"
            ]
        );
    }
}
