//! Progress on the standard error: bars on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::duration::duration;
use crate::number::significant;
use crate::{Cell, CellResult, Progress, Update};

/// Bars where the standard error is a terminal, plain lines where it is not.
pub fn progress() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() {
        Box::new(Bars::new())
    } else {
        Box::new(PlainLines::new(std::io::stderr()))
    }
}

/// `train epoch 3/20, loss 0.1234, test-errors 146, 12300 examples/s`.
fn describe(update: &Update) -> String {
    let mut text = update.phase.to_string();
    if update.epochs > 0 {
        text.push_str(&format!(" epoch {}/{}", update.epoch, update.epochs));
    }
    if let Some(loss) = update.loss {
        text.push_str(&format!(", loss {}", significant(loss, 4)));
    }
    if let Some((name, value)) = update.metric {
        text.push_str(&format!(", {name} {}", significant(value, 4)));
    }
    if let Some(rate) = update.examples_per_second {
        text.push_str(&format!(", {} examples/s", significant(rate, 3)));
    }
    text
}

/// What is done and what there is to do, in thousandths of an epoch: how many steps an epoch has
/// may change from one to the next.
fn steps(update: &Update) -> (u64, u64) {
    let inside = 1000 * update.step / update.steps.max(1);
    ((1000 * update.epoch.saturating_sub(1) + inside) as u64, 1000 * update.epochs.max(1) as u64)
}

/// Two bars: the cells, and the current cell with its rate and the time left.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    cells: ProgressBar,
    current: ProgressBar,
    /// The phase that the current bar counts: a new one starts the estimate of the time left
    /// again.
    phase: Mutex<String>,
}

impl Bars {
    /// Bars that show nothing until the first cell starts.
    pub fn new() -> Self {
        let all = MultiProgress::new();
        let style = |template| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let cells =
            all.add(ProgressBar::hidden().with_style(style("cells {pos}/{len} {wide_msg}")));
        let current =
            all.add(ProgressBar::hidden().with_style(style("{bar:24} {eta:>4} left  {wide_msg}")));
        Self { all, cells, current, phase: Mutex::new(String::new()) }
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Bars {
    fn cell_started(&self, cell: &Cell, index: usize, total: usize) {
        self.cells.set_length(total as u64);
        self.cells.set_position(index as u64);
        self.cells.set_message(cell.short_label());
        self.current.set_position(0);
        self.current.set_message("");
        if let Ok(mut phase) = self.phase.lock() {
            phase.clear();
        }
    }

    fn update(&self, update: &Update) {
        let (done, all) = steps(update);
        if let Ok(mut phase) = self.phase.lock()
            && (*phase != update.phase || update.resumed)
        {
            update.phase.clone_into(&mut phase);
            // A cell that continues starts in the middle; what was done before must not count as
            // speed.
            self.current.set_length(all);
            self.current.set_position(done);
            self.current.reset_eta();
        }
        self.current.set_length(all);
        self.current.set_position(done);
        self.current.set_message(describe(update));
    }

    fn cell_finished(&self, cell: &Cell, result: &CellResult) {
        // A line that cannot be shown is no reason to stop.
        let _ = self.all.println(finished_line(cell, result));
    }

    fn note(&self, text: &str) {
        let _ = self.all.println(text);
    }

    fn run_finished(&self) {
        self.current.finish_and_clear();
        self.cells.finish_and_clear();
    }
}

/// `done table/row seed 1: test-errors 146 (12s)`, with the first few metrics.
fn finished_line(cell: &Cell, result: &CellResult) -> String {
    let metrics: Vec<String> = result
        .metrics
        .iter()
        .take(3)
        .map(|(name, value)| format!("{name} {}", significant(*value, 4)))
        .collect();
    format!("done {}: {} ({})", cell.short_label(), metrics.join(", "), duration(result.seconds))
}

/// Lines for logs: one when a cell starts and one when it is finished; between them at most one for
/// each epoch, and none more often than every two seconds but for the last of a phase.
#[derive(Debug)]
pub struct PlainLines<W: Write + Send> {
    state: Mutex<PlainState<W>>,
}

#[derive(Debug)]
struct PlainState<W> {
    out: W,
    cell: String,
    phase: String,
    /// When the phase was first heard of, and how many steps were behind it then.
    started: (Instant, u64),
    printed: Option<Instant>,
}

const QUIET: Duration = Duration::from_secs(2);
const LONG_EPOCH: Duration = Duration::from_secs(15);

impl<W: Write + Send> PlainLines<W> {
    /// Lines to `out`.
    pub fn new(out: W) -> Self {
        let state = PlainState {
            out,
            cell: String::new(),
            phase: String::new(),
            started: (Instant::now(), 0),
            printed: None,
        };
        Self { state: Mutex::new(state) }
    }

    fn with(&self, act: impl FnOnce(&mut PlainState<W>) -> std::io::Result<()>) {
        // Progress that cannot be written is no reason to stop the work.
        if let Ok(mut state) = self.state.lock() {
            let _ = act(&mut state);
        }
    }
}

impl<W: Write + Send> Progress for PlainLines<W> {
    fn cell_started(&self, cell: &Cell, index: usize, total: usize) {
        self.with(|state| {
            state.cell = cell.short_label();
            state.phase.clear();
            state.printed = None;
            writeln!(state.out, "[{index}/{total}] {}", state.cell)
        });
    }

    fn update(&self, update: &Update) {
        self.with(|state| {
            let (done, all) = steps(update);
            if state.phase != update.phase || update.resumed {
                update.phase.clone_into(&mut state.phase);
                state.started = (Instant::now(), done);
                state.printed = None;
            }
            let epoch_ends = update.step == update.steps;
            let last = epoch_ends && update.epoch >= update.epochs;
            let quiet = state.printed.unwrap_or(state.started.0).elapsed();
            if !(last || epoch_ends && quiet >= QUIET || quiet >= LONG_EPOCH) {
                return Ok(());
            }
            state.printed = Some(Instant::now());
            let (since, before) = state.started;
            let left = match done.saturating_sub(before) {
                0 => String::new(),
                _ if last => String::new(),
                new => format!(
                    ", {} left",
                    duration(
                        since.elapsed().as_secs_f64() * (all.saturating_sub(done)) as f64
                            / new as f64
                    )
                ),
            };
            writeln!(state.out, "{}: {}{left}", state.cell, describe(update))
        });
    }

    fn cell_finished(&self, cell: &Cell, result: &CellResult) {
        self.with(|state| writeln!(state.out, "{}", finished_line(cell, result)));
    }

    fn note(&self, text: &str) {
        self.with(|state| writeln!(state.out, "{text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_phase_prints_its_last_epoch_only() {
        let lines = PlainLines::new(Vec::new());
        for epoch in 1..=20 {
            for step in 1..=5 {
                let loss = Some(1.0 / epoch as f64);
                lines.update(&Update {
                    phase: "train",
                    epoch,
                    epochs: 20,
                    step,
                    steps: 5,
                    loss,
                    ..Update::default()
                });
            }
        }
        let text = String::from_utf8(lines.state.into_inner().unwrap().out).unwrap();
        assert_eq!(text, ": train epoch 20/20, loss 0.05\n");
    }

    #[test]
    fn epochs_of_an_earlier_process_do_not_count_as_speed() {
        let lines = PlainLines::new(Vec::new());
        let update = |epoch, resumed| {
            lines.update(&Update {
                phase: "train",
                epoch,
                epochs: 100,
                step: 1,
                steps: 1,
                resumed,
                ..Update::default()
            });
        };
        (1..=90).for_each(|epoch| update(epoch, true));
        lines.state.lock().unwrap().started.0 -= Duration::from_secs(20);
        update(91, false);
        let text = String::from_utf8(lines.state.into_inner().unwrap().out).unwrap();
        assert_eq!(text, ": train epoch 91/100, 3m left\n");
    }

    #[test]
    fn an_update_is_described_with_what_it_knows() {
        let update = Update {
            phase: "train",
            epoch: 3,
            epochs: 20,
            metric: Some(("test-errors", 146.0)),
            ..Update::default()
        };
        assert_eq!(describe(&update), "train epoch 3/20, test-errors 146");
        assert_eq!(describe(&Update { phase: "evaluate", ..Update::default() }), "evaluate");
    }
}
