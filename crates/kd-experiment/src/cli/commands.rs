//! The commands `run`, `list` and `table`.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use kd_base::{atomic, message};

use super::application::Application;
use super::experiments;
use super::output::output_error;
use super::slurm::{self, Submission};
use super::{report, show, status, sweep};
use crate::duration::duration;
use crate::result::current_commit;
use crate::{
    CellState, DataIdentity, Error, ExpandRequest, Group, OnFailure, Paper, Plan, References,
    Result, RunOptions, Shard, Store, Table, TablePlan, check, execute as run_cells, expand,
    kept_cells, pretty, table,
};

/// The commands that every binary has.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run what is not finished and derive the tables (the default: all tables)
    Run {
        /// Tables; all where none is named
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
        /// End at the first cell that fails, in place of going on with those that do not need it
        #[arg(long)]
        fail_fast: bool,
        /// Only this group of cells, needed-N (those that others need) or last-N (the others) of
        /// level N; what they need has to be finished, and --shard splits the group
        #[arg(long, value_name = "GROUP")]
        group: Option<Group>,
        /// Refuse other data than this, NAME:FINGERPRINT
        #[arg(long, value_name = "DATA", hide = true)]
        expect_data: Option<String>,
    },
    /// List the cells: done, running, partial or pending, and what they cost
    List {
        /// Tables; all where none is named
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
    },
    /// Say how far the cells have come: done, running and where, failed and why, waiting and for what
    Status {
        /// Tables; all where none is named
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
    },
    /// Run the cells as jobs of Slurm: those that others need first, the tables last
    Submit(Submission),
    /// Try settings of a row on a grid, measured on held-out training images
    Sweep(sweep::Arguments),
    /// Show a cell: its spec, its result, its files and its curves
    Show {
        /// TABLE/ROW[#SEED] at this preset, or the name of the cell's folder or its first digits
        #[arg(value_name = "CELL")]
        cell: String,
    },
    /// Write all results as one page of HTML: tables beside the published numbers, pictures, curves
    Report {
        /// The page
        #[arg(long, value_name = "FILE", default_value = "report.html")]
        to: PathBuf,
        /// Write the curves of each cell as event files for TensorBoard too, into this folder
        #[arg(long, value_name = "DIR")]
        tensorboard: Option<PathBuf>,
        /// Replace the page if it is there, and write into a folder that has files
        #[arg(long)]
        force: bool,
    },
    /// Derive tables and plots again from the finished cells
    Table {
        /// Tables; all where none is named
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
        /// Derive tables that lack cells too; `n` counts the finished seeds
        #[arg(long)]
        partial: bool,
        /// Keep spec, result and curves of the tables' cells beside them, in `cells`
        #[arg(long)]
        keep_cells: bool,
        /// Refuse other data than this, NAME:FINGERPRINT
        #[arg(long, value_name = "DATA", hide = true)]
        expect_data: Option<String>,
    },
}

impl Command {
    /// The tables that are named; none for commands that take none.
    pub fn tables_mut(&mut self) -> Option<&mut Vec<String>> {
        match self {
            Self::Run { tables, .. }
            | Self::List { tables }
            | Self::Status { tables }
            | Self::Submit(Submission { tables, .. })
            | Self::Table { tables, .. } => Some(tables),
            Self::Sweep(_) | Self::Show { .. } | Self::Report { .. } => None,
        }
    }

    /// Whether it computes cells here: the others list, show, draw, or have other machines compute.
    pub fn computes(&self) -> bool {
        matches!(self, Self::Run { .. } | Self::Sweep(_))
    }

    /// The data that the command is for, where it says so.
    fn expected_data(&self) -> Option<&str> {
        match self {
            Self::Run { expect_data, .. } | Self::Table { expect_data, .. } => {
                expect_data.as_deref()
            }
            _ => None,
        }
    }
}

impl Default for Command {
    /// `run`, every table.
    fn default() -> Self {
        Command::Run { tables: Vec::new(), fail_fast: false, group: None, expect_data: None }
    }
}

/// Executes a shared command and prints what it has to say to `out`.
///
/// # Errors
/// Bad input that is found before anything is computed, and what goes wrong after it.
pub fn execute<P: Paper>(
    command: &Command,
    application: &Application<P>,
    out: &mut dyn Write,
) -> Result<()> {
    let tables = match command {
        Command::Sweep(arguments) => return sweep::run(arguments, application, out),
        Command::Show { cell } => return show::run(cell, application, out),
        Command::Report { to, tensorboard, force } => {
            return report::run(to, tensorboard.as_deref(), *force, application, out);
        }
        Command::Run { tables, .. }
        | Command::List { tables }
        | Command::Status { tables }
        | Command::Submit(Submission { tables, .. })
        | Command::Table { tables, .. } => tables,
    };
    let options = application.options;
    let (mut experiments, references) = experiments::load(application)?;
    (application.adjust)(&mut experiments)?;
    let data = application.paper.identity()?;
    expect(command, &data)?;
    let request = ExpandRequest {
        paper: application.name(),
        experiments: &experiments,
        selected: tables,
        preset: options.preset,
        data: &data,
        seeds: options.seeds.as_ref(),
    };
    let plan = expand(&request)?;
    if let Err(wrong) = plan.tables.iter().try_for_each(|table| references.check(table)) {
        // A metric that the experiment file misspells is missing among the published numbers too;
        // the cells know how it is spelt.
        check(application.paper, &plan, &plan.cells)?;
        return Err(wrong);
    }
    if let Some(note) = &data.note {
        application.progress.note(note);
    }
    let invocation = Invocation {
        application,
        references,
        store: Store::new(&options.runs_dir, application.name()),
        plan,
    };
    match command {
        Command::Run { fail_fast, group, .. } => invocation.run(*fail_fast, *group, out),
        Command::List { .. } => invocation.list(out),
        Command::Status { .. } => {
            status::run(&invocation.plan, &invocation.store, application.options, out)
        }
        Command::Submit(submission) => {
            invocation.check_places()?;
            let Invocation { plan, store, .. } = &invocation;
            slurm::submit(submission, &data, (plan, store), application, out)
        }
        Command::Table { partial, keep_cells, .. } => invocation.tables(*partial, *keep_cells, out),
        Command::Sweep(_) | Command::Show { .. } | Command::Report { .. } => Ok(()),
    }
}

/// Fails where a command is for other data than what is here: a machine that does not find a data
/// set may fall back to generated data, whose cells have other names.
fn expect(command: &Command, data: &DataIdentity) -> Result<()> {
    match command.expected_data() {
        Some(expected) if expected != data.name() => Err(Error::bad_input(format!(
            "--expect-data: expected {expected}, got {}; name the data set with --data",
            data.name()
        ))),
        _ => Ok(()),
    }
}

/// One command at work.
struct Invocation<'a, P> {
    application: &'a Application<'a, P>,
    references: References,
    store: Store,
    plan: Plan,
}

impl<P: Paper> Invocation<'_, P> {
    /// Runs the cells, derives the tables, and lists the cells that failed.
    fn run(&self, fail_fast: bool, group: Option<Group>, out: &mut dyn Write) -> Result<()> {
        self.check_places()?;
        let on_failure = if fail_fast { OnFailure::Stop } else { OnFailure::GoOn };
        let shard = self.application.options.shard.unwrap_or(Shard::ALL);
        let commit = current_commit();
        let options = RunOptions { shard, group, commit: &commit, on_failure };
        let Application { paper, progress, .. } = self.application;
        let ran = run_cells(*paper, &self.plan, &self.store, &options, *progress);
        if let Err(error) = &ran
            && !matches!(error, Error::Failed { .. })
        {
            return ran.map(drop);
        }
        // What could be finished has its table all the same. A group is no whole table.
        let tables = if group.is_none() { self.tables(false, false, out) } else { Ok(()) };
        // A single one is the error itself.
        if let Err(Error::Failed { failures, .. }) = &ran
            && failures.len() > 1
        {
            failures.iter().for_each(|failure| progress.note(&failure.to_string()));
        }
        tables.and(ran.map(drop))
    }

    /// Derives, writes and prints every table that is complete, or, with `partial`, every table
    /// that has a finished cell. With `keep_cells` the cells' small files stand beside them.
    fn tables(&self, partial: bool, keep_cells: bool, out: &mut dyn Write) -> Result<()> {
        for table in &self.plan.tables {
            let (finished, count) = table::collect(&self.store, &self.plan, table)?;
            if !count.is_complete() && (!partial || count.finished == 0) {
                writeln!(
                    out,
                    "{}: {} of {} cells are finished; not written",
                    table.name, count.finished, count.cells
                )
                .map_err(output_error)?;
                continue;
            }
            let derived = table::derive(table, finished, &self.references)?;
            let mut paths = self.write(table, &derived)?;
            if keep_cells {
                let dir = self.dir(table);
                kept_cells::keep(&derived, &dir)?;
                paths.push(dir.join(kept_cells::CELLS));
            }
            write!(out, "{}", pretty::render(&derived)).map_err(output_error)?;
            if !count.is_complete() {
                writeln!(out, "partial: {} of {} cells are finished", count.finished, count.cells)
                    .map_err(output_error)?;
            }
            for path in paths {
                writeln!(out, "-> {}", path.display()).map_err(output_error)?;
            }
            writeln!(out).map_err(output_error)?;
        }
        Ok(())
    }

    /// Fails where the run could not keep its cells or write its tables: before it computes them.
    fn check_places(&self) -> Result<()> {
        atomic::check_dir(&self.application.options.runs_dir.join(self.application.name()))?;
        self.plan.tables.iter().try_for_each(|table| {
            let dir = self.dir(table);
            atomic::check_dir(&dir)?;
            Table::check_place(&dir, &table.name).map(drop)
        })
    }

    /// The folder of a table's files.
    fn dir(&self, plan: &TablePlan) -> PathBuf {
        let Application { options, .. } = self.application;
        Table::dir(&options.out, self.application.name(), &plan.dataset, plan.preset)
    }

    fn write(&self, plan: &TablePlan, table: &Table) -> Result<Vec<PathBuf>> {
        let dir = self.dir(plan);
        let mut paths = vec![table.write_csv(&dir)?];
        let of_table = |error| Error::Table { table: plan.name.clone(), source: Box::new(error) };
        paths.extend(self.application.paper.decorate(table, &dir).map_err(of_table)?);
        atomic::sweep(&dir)?;
        Ok(paths)
    }

    /// Lists the cells in the order in which they run.
    fn list(&self, out: &mut dyn Write) -> Result<()> {
        let specs = check(self.application.paper, &self.plan, &self.plan.cells)?;
        let mine = self.plan.shard(self.application.options.shard.unwrap_or(Shard::ALL));
        let mut rows = vec![["cell", "row", "seed", "state", "cost"].map(str::to_string).to_vec()];
        let mut done = 0;
        let mut left = Some(0.0);
        for cell in mine.iter().map(|index| &self.plan.cells[*index]) {
            let state = self.store.state(cell)?;
            let cost =
                specs.get(&cell.id).and_then(|parsed| self.application.paper.cost(&parsed.spec));
            if state == CellState::Done {
                done += 1;
            } else {
                left = left.zip(cost).map(|(left, cost)| left + cost);
            }
            let place = cell.short_label();
            let place =
                place.strip_suffix(&format!(" seed {}", cell.seed)).unwrap_or(&place).to_string();
            let cost = cost.map(|cost| format!("~{}", duration(cost))).unwrap_or_default();
            rows.push(vec![
                cell.id.to_string(),
                place,
                cell.seed.to_string(),
                state.name().to_string(),
                cost,
            ]);
        }
        let left = match left {
            Some(left) if left > 0.0 => format!(", about {} left", duration(left)),
            _ => String::new(),
        };
        let total = format!(
            "{}, {done} done{left}; preset {}\n",
            message::count(mine.len(), "cell"),
            self.application.options.preset
        );
        write!(out, "{}{total}", pretty::align(&rows)).map_err(output_error)
    }
}
