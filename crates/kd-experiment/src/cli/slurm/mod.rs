//! `submit --slurm`: the cells as jobs of Slurm.
//!
//! Each [`Group`] with unfinished cells is a job array, a task for each shard that has any. Those
//! that others need, teachers for instance, come first; those that need them depend on their arrays
//! with `afterany`, not `afterok`: with the latter one teacher that failed would keep the students of
//! all others from ever running. So a task finds out in the store what became of the cells that its
//! own need, runs those that can be run, and fails for the others, naming the cell that they lack.
//! It does not try that one again: every student's task would. A last job derives the tables.
//!
//! The tasks share the run store, whose locks keep two of them from running the same cell. A task
//! that is asked to stop, before its time limit or by preemption, saves, is queued again and goes
//! on, see the module `script`.

mod cost;
mod queue;
mod sbatch;
mod script;

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use kd_base::{atomic, message};

pub(super) use queue::jobs;

use self::cost::Cost;
use self::script::{Script, quoted_all};
use super::application::Application;
use super::output::output_error;
use crate::{DataIdentity, Error, Group, Paper, Plan, Result, Shard, Store};

/// Most tasks of an array where nobody says how many: Slurm's own limit, `MaxArraySize`, is 1001
/// unless a cluster sets another, and tasks are counted from 1.
const MOST_TASKS: usize = 1000;

const EXAMPLES: &str = "Examples:
  reviewkd-cifar submit --slurm --dry-run --preset laptop           the scripts and what they cost
  reviewkd-cifar submit ablation --slurm --preset paper --data cifar100 -- --gres=gpu:1 --time=12:00:00
  reviewkd-cifar status --preset paper --data cifar100              what has become of it";

/// What is to be submitted, and how.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct Submission {
    /// Tables; all where none is named
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Submit to Slurm, through `sbatch`
    #[arg(long, required = true)]
    pub slurm: bool,
    /// Tasks of each job array [default: one for each cell, at most 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub shards: Option<u32>,
    /// Print the scripts and what they cost, and submit nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The program's options as they were given, see the module `task_arguments`.
    #[arg(long = super::task_arguments::OPTION, hide = true)]
    pub task_arguments: Vec<OsString>,
    /// Options of `sbatch`, for instance `-- --partition=gpu --gres=gpu:1 --time=12:00:00`
    #[arg(last = true, value_name = "SBATCH OPTIONS")]
    pub sbatch: Vec<OsString>,
}

/// A job array: a group's shards with unfinished cells.
struct Array {
    group: Group,
    /// The number of shards.
    shards: usize,
    /// Those that have something to do, from 1.
    tasks: Vec<usize>,
    cost: Cost,
}

/// Writes a script for each job, submits them, and says how to follow them; with `dry_run`, prints
/// them.
///
/// # Errors
/// Bad input where `sbatch` is missing or refuses, or an option makes no sense here.
pub(super) fn submit<P: Paper>(
    submission: &Submission,
    data: &DataIdentity,
    (plan, store): (&Plan, &Store),
    application: &Application<P>,
    out: &mut dyn Write,
) -> Result<()> {
    let options = application.options;
    if options.shard.is_some() {
        let what = "--shard: submit splits the cells itself; give --shards N for N tasks an array";
        return Err(Error::bad_input(what));
    }
    sbatch::check_options(&submission.sbatch)?;
    let arrays = arrays(submission, plan, store, application.paper)?;
    if arrays.is_empty() {
        let (count, name) = (message::count(plan.cells.len(), "cell"), application.name());
        return writeln!(out, "{count}, all finished; `{name} table` derives the tables")
            .map_err(output_error);
    }
    let root = std::path::absolute(jobs_root(&options.runs_dir, application.name()));
    let root = root.map_err(Error::io("find", &options.runs_dir))?;
    let dir = if submission.dry_run { root.join("N") } else { new_folder(&root)? };
    if dir.as_os_str().as_encoded_bytes().contains(&b'\\') {
        let what =
            "expected a path without a backslash, by which Slurm turns off the names of logs";
        return Err(Error::bad_input(format!("--runs-dir {}: {what}", dir.display())));
    }
    let tables: Vec<OsString> = plan.tables.iter().map(|table| table.name.clone().into()).collect();
    let (data, given) = (data.name(), &submission.task_arguments);
    let script = Script::new(tables, given, &data)?;
    let mut sent = Sent { dir: &dir, jobs: Vec::new() };
    let mut text = String::new();
    for array in &arrays {
        let Array { group, shards, tasks, cost } = array;
        let name = group.to_string();
        let what = format!("{name}: {}", cost.of_tasks(tasks.len()));
        let job = sbatch::Job {
            name: format!("{}-{name}", application.name()),
            file: &name,
            array: Some(tasks),
            after: arrays
                .iter()
                .map(|other| other.group)
                .filter(|o| group.depends_on(*o))
                .collect(),
        };
        let body = script.of_group(*group, *shards, &what);
        text.push_str(&sent.job(submission, &job, &what, &body)?);
    }
    let what = "tables: one small job, once all others have ended".to_owned();
    let job = sbatch::Job {
        name: format!("{}-tables", application.name()),
        file: "tables",
        array: None,
        after: arrays.iter().map(|array| array.group).collect(),
    };
    text.push_str(&sent.job(submission, &job, &what, &script.of_tables())?);
    let whole = Cost::of_arrays(&arrays);
    let follow = if submission.dry_run {
        "nothing was submitted".to_owned()
    } else {
        format!(
            "`{} status` with the same options follows; logs in {}",
            application.name(),
            dir.display()
        )
    };
    writeln!(out, "{text}{whole}; preset {}; {follow}", options.preset).map_err(output_error)
}

/// The job arrays that have something to do, in the order of their dependency.
fn arrays<P: Paper>(
    submission: &Submission,
    plan: &Plan,
    store: &Store,
    paper: &P,
) -> Result<Vec<Array>> {
    let costs = cost::of_cells(paper, plan, store)?;
    let mut arrays = Vec::new();
    for (group, cells) in plan.groups() {
        let wanted = submission.shards.map_or(MOST_TASKS, |shards| shards as usize);
        let shards = wanted.min(cells.len());
        let mut array = Array { group, shards, tasks: Vec::new(), cost: Cost::default() };
        for task in 1..=shards {
            let shard: Shard = format!("{task}/{shards}").parse().map_err(Error::bad_input)?;
            let cells = plan.group_shard(group, shard);
            let left: Vec<Option<f64>> =
                cells.iter().filter_map(|index| costs.get(index)).copied().collect();
            if !left.is_empty() {
                array.tasks.push(task);
                array.cost.add_task(&left);
            }
        }
        if !array.tasks.is_empty() {
            arrays.push(array);
        }
    }
    Ok(arrays)
}

/// The jobs that were submitted, or would be.
struct Sent<'a> {
    dir: &'a Path,
    /// Their groups, none for the tables, with Slurm's numbers for them.
    jobs: Vec<(Option<Group>, String, String)>,
}

impl Sent<'_> {
    /// Submits a job, after those that were submitted before, and says so; in a dry run, shows it.
    fn job(
        &mut self,
        submission: &Submission,
        job: &sbatch::Job,
        what: &str,
        body: &str,
    ) -> Result<String> {
        let after = |group: &Group| {
            let sent = self.jobs.iter().find(|(other, ..)| *other == Some(*group));
            sent.map(|(_, _, id)| id.clone())
        };
        let after: Vec<String> = job.after.iter().filter_map(after).collect();
        let file = self.dir.join(format!("{}.sh", job.file));
        let arguments = job.arguments(&submission.sbatch, &after, &file, self.dir);
        let group = job.file.parse::<Group>().ok();
        if submission.dry_run {
            self.jobs.push((group, job.file.to_owned(), format!("<{}>", job.file)));
            return Ok(format!("# {what}\n# sbatch {}\n{body}\n", quoted_all(&arguments)));
        }
        atomic::write(&file, body.as_bytes())?;
        let id = sbatch::run(&arguments).map_err(|problem| {
            let before: Vec<&str> = self.jobs.iter().map(|(_, _, id)| id.as_str()).collect();
            let cancel = match before[..] {
                [] => String::new(),
                _ => format!("; `scancel {}` takes back what was submitted", before.join(" ")),
            };
            Error::bad_input(format!("{}: {problem}{cancel}", job.file))
        })?;
        self.jobs.push((group, job.file.to_owned(), id.clone()));
        let record: String =
            self.jobs.iter().map(|(_, name, id)| format!("{id} {name}\n")).collect();
        atomic::write(&self.dir.join(queue::RECORD), record.as_bytes())?;
        Ok(format!("job {id}: {what}\n"))
    }
}

/// The folder of a paper's submissions: of scripts and logs.
fn jobs_root(runs: &Path, paper: &str) -> PathBuf {
    runs.join("slurm").join(paper)
}

/// A folder of this submission's own: the first number that is free.
fn new_folder(root: &Path) -> Result<PathBuf> {
    atomic::create_dir(root)?;
    let mut number = 1_u64;
    loop {
        let dir = root.join(number.to_string());
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::io("create", &dir)(error)),
        }
    }
}
