//! The commands `run`, `list` and `table`.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::options::Options;
use super::{experiments, is_closed_pipe, output_error};
use crate::run::result::current_commit;
use crate::run::{
    AnyError, Cell, CellState, DataIdentity, Experiment, Paper, Plan, Progress, References, Request, Result, RunError, Seeds, Shard, Store,
    Table, TablePlan, atomic, check, execute as run_cells, expand, pretty, table,
};

/// The commands that every binary has.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run what is not finished and derive the tables (the default: all tables)
    Run {
        /// Tables; all where none is named
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
    },
    /// List the cells: done, running, partial or pending, and what they cost
    List {
        /// Tables; all where none is named
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
    },
    /// Derive tables and plots again from the finished cells
    Table {
        /// Tables; all where none is named
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
        /// Derive tables that lack cells too; `n` counts the finished seeds
        #[arg(long)]
        partial: bool,
    },
}

impl Default for Command {
    /// `run`, every table.
    fn default() -> Self {
        Command::Run { tables: Vec::new() }
    }
}

/// What a binary brings to the shared commands.
pub struct Application<'a> {
    /// The meaning of its cells.
    pub paper: &'a dyn Paper,
    /// Its experiment files as compiled in: name and text.
    pub experiments: &'a [(&'a str, &'a str)],
    /// Its `reference.csv` as compiled in.
    pub reference: &'a str,
    /// Finds out which data set is there. Called once, and only by commands that need it.
    pub identity: &'a dyn Fn() -> Result<DataIdentity, AnyError>,
    /// Changes the experiments after they are read, as options of the binary's own ask.
    pub adjust: &'a dyn Fn(&mut Vec<Experiment>) -> Result<()>,
    /// Shows the progress of `run`.
    pub progress: &'a dyn Progress,
}

/// Executes a shared command and prints what it has to say to `out`. A closed pipe ends it without an error.
pub fn execute(command: &Command, options: &Options, application: &Application, out: &mut dyn Write) -> Result<()> {
    match run_command(command, options, application, out) {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        done => done,
    }
}

fn run_command(command: &Command, options: &Options, application: &Application, out: &mut dyn Write) -> Result<()> {
    let (Command::Run { tables } | Command::List { tables } | Command::Table { tables, .. }) = command;
    let (mut experiments, references) = experiments::load(application, options.experiments.as_deref())?;
    (application.adjust)(&mut experiments)?;
    let data = (application.identity)().map_err(data_error)?;
    let request = Request {
        paper: application.paper.name(),
        experiments: &experiments,
        selected: tables,
        preset: options.preset,
        data: &data,
        seeds: options.seeds.as_ref(),
    };
    let plan = expand(&request)?;
    for table in &plan.tables {
        references.check(table)?;
    }
    if let Some(note) = &data.note {
        application.progress.note(note);
    }
    let invocation = Invocation { options, application, references, store: Store::new(&options.runs_dir, application.paper.name()), plan };
    match command {
        Command::Run { .. } => {
            let shard = options.shard.unwrap_or(Shard::ALL);
            run_cells(application.paper, &invocation.plan, &invocation.store, shard, &current_commit(), application.progress)?;
            invocation.tables(false, out)
        }
        Command::List { .. } => {
            check(application.paper, &invocation.plan, &invocation.plan.cells)?;
            invocation.list(out)
        }
        Command::Table { partial, .. } => invocation.tables(*partial, out),
    }
}

/// The folder of the finished cell that `name` means: `TABLE/ROW` or `TABLE/ROW#SEED`, at the preset of `options`; without a seed,
/// the first of the preset's.
///
/// Errors: a name of another form, an unknown table or row, several cells that fit (a row with grids), a cell that is not finished.
pub fn finished_cell(name: &str, options: &Options, application: &Application) -> Result<PathBuf> {
    let paper = application.paper.name();
    let (_, cell) = named_cell(name, options, application)?;
    let store = Store::new(&options.runs_dir, paper);
    match store.result(&cell)? {
        Some(_) => Ok(store.dir(&cell)),
        None => {
            let what = format!("{name}: the cell {} is not finished; run `{paper} run {}` first", cell.label(), cell.table);
            Err(RunError::Input(what))
        }
    }
}

/// Runs the cell that `name` means, as in [`finished_cell`], after those that it needs, as far as they are not finished, and gives its folder.
///
/// Errors: as [`finished_cell`], and those of the cells.
pub fn run_cell(name: &str, options: &Options, application: &Application) -> Result<PathBuf> {
    let (mut plan, cell) = named_cell(name, options, application)?;
    let mut wanted = vec![cell.id.clone()];
    // What a cell needs stands before it in the plan, so one pass from the end finds all.
    for other in plan.cells.iter().rev() {
        if wanted.contains(&other.id) {
            wanted.extend(other.needs.values().flatten().cloned());
        }
    }
    plan.cells.retain(|other| wanted.contains(&other.id));
    let store = Store::new(&options.runs_dir, application.paper.name());
    run_cells(application.paper, &plan, &store, Shard::ALL, &current_commit(), application.progress)?;
    Ok(store.dir(&cell))
}

/// The plan of the table, and in it the cell.
fn named_cell(name: &str, options: &Options, application: &Application) -> Result<(Plan, Cell)> {
    let wrong = |what: String| RunError::Input(format!("{name}: {what}"));
    let (place, seed) = name.split_once('#').map_or((name, None), |(place, seed)| (place, Some(seed)));
    let seed = seed.map(|s| s.parse::<u64>().map_err(|_| wrong(format!("expected a seed after #, got `{s}`")))).transpose()?;
    let Some((table, row)) = place.split_once('/') else {
        return Err(wrong("no such file; expected a network's file or TABLE/ROW[#SEED]".into()));
    };
    let (mut experiments, _) = experiments::load(application, options.experiments.as_deref())?;
    (application.adjust)(&mut experiments)?;
    let data = (application.identity)().map_err(data_error)?;
    let selected = [table.to_owned()];
    let seeds = seed.and_then(|s| Seeds::new(vec![s]).ok());
    let (paper, preset) = (application.paper.name(), options.preset);
    let seeds = seeds.as_ref().or(options.seeds.as_ref());
    let plan = expand(&Request { paper, experiments: &experiments, selected: &selected, preset, data: &data, seeds })?;
    let fits = plan.cells.iter().filter(|c| c.table == table && c.row == row && seed.is_none_or(|s| s == c.seed));
    let fits: Vec<_> = fits.collect();
    let Some(&first) = fits.first() else {
        return Err(wrong(format!("table `{table}` has no such row at preset {preset}")));
    };
    if let Some(other) = fits.iter().find(|c| c.seed == first.seed && c.keys != first.keys) {
        let (a, b) = (first.short_label(), other.short_label());
        return Err(wrong(format!("several cells fit, {a} and {b}; give the file of one of them")));
    }
    let cell = first.clone();
    Ok((plan, cell))
}

/// An error of the data set, which may be a [`RunError`] already.
fn data_error(error: AnyError) -> RunError {
    match error.downcast::<RunError>() {
        Ok(error) => *error,
        Err(error) => RunError::Data(error),
    }
}

/// One command at work.
struct Invocation<'a> {
    options: &'a Options,
    application: &'a Application<'a>,
    references: References,
    store: Store,
    plan: Plan,
}

impl Invocation<'_> {
    /// Derives, writes and prints every table that is complete, or, with `partial`, every table that has a finished cell.
    fn tables(&self, partial: bool, out: &mut dyn Write) -> Result<()> {
        for table in &self.plan.tables {
            let (finished, count) = table::collect(&self.store, &self.plan, table)?;
            if !count.is_complete() && (!partial || count.finished == 0) {
                writeln!(out, "{}: {} of {} cells are finished; not written", table.name, count.finished, count.cells)
                    .map_err(output_error)?;
                continue;
            }
            let derived = table::derive(table, finished, &self.references)?;
            let paths = self.write(table, &derived)?;
            write!(out, "{}", pretty::render(&derived)).map_err(output_error)?;
            if !count.is_complete() {
                writeln!(out, "partial: {} of {} cells are finished", count.finished, count.cells).map_err(output_error)?;
            }
            for path in paths {
                writeln!(out, "-> {}", path.display()).map_err(output_error)?;
            }
            writeln!(out).map_err(output_error)?;
        }
        Ok(())
    }

    fn write(&self, plan: &TablePlan, table: &Table) -> Result<Vec<PathBuf>> {
        let dir = Table::dir(&self.options.out, self.application.paper.name(), &plan.dataset, plan.preset);
        let mut paths = vec![table.write_csv(&dir)?];
        let decorate = |source| RunError::Decorate { table: plan.name.clone(), source };
        paths.extend(self.application.paper.decorate(table, &dir).map_err(decorate)?);
        atomic::sweep(&dir)?;
        Ok(paths)
    }

    /// Lists the cells in the order in which they run.
    fn list(&self, out: &mut dyn Write) -> Result<()> {
        let mine = self.plan.shard(self.options.shard.unwrap_or(Shard::ALL));
        let mut rows = vec![["cell", "row", "seed", "state", "cost"].map(str::to_string).to_vec()];
        let mut done = 0;
        let mut left = Some(0.0);
        for cell in mine.iter().map(|index| &self.plan.cells[*index]) {
            let state = self.store.state(cell)?;
            let cost = self.application.paper.cost(cell);
            if state == CellState::Done {
                done += 1;
            } else {
                left = left.zip(cost).map(|(left, cost)| left + cost);
            }
            let place = cell.short_label();
            let place = place.strip_suffix(&format!(" seed {}", cell.seed)).unwrap_or(&place).to_string();
            let cost = cost.map(|cost| format!("~{}", duration(cost))).unwrap_or_default();
            rows.push(vec![cell.id.to_string(), place, cell.seed.to_string(), state.name().to_string(), cost]);
        }
        let left = match left {
            Some(left) if left > 0.0 => format!(", about {} left", duration(left)),
            _ => String::new(),
        };
        let total = format!("{} cells, {done} done{left}; preset {}\n", mine.len(), self.options.preset);
        write!(out, "{}{total}", pretty::align(&rows)).map_err(output_error)
    }
}

/// Seconds for people: `40s`, `12m`, `3.5h`.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0}s"),
        s if s < 5400.0 => format!("{:.0}m", s / 60.0),
        s => format!("{:.1}h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!([12.4, 89.0, 600.0, 7200.0].map(duration), ["12s", "89s", "10m", "2.0h"]);
    }
}
