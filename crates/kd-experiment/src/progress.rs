//! What a running cell tells of itself. Who shows it, and how, is decided elsewhere.

use super::cell::Cell;
use super::result::CellResult;

/// A moment of a cell's work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Update<'a> {
    /// What is being done: `train`, `evaluate`, the name of a phase.
    pub phase: &'a str,
    /// The current epoch, from 1; 0 where the phase has no epochs.
    pub epoch: usize,
    /// Epochs of the phase.
    pub epochs: usize,
    /// Steps of the current epoch that are behind us.
    pub step: usize,
    /// Steps of an epoch. `step == steps` ends the epoch.
    pub steps: usize,
    /// The loss: the epoch's mean so far.
    pub loss: Option<f64>,
    /// One more number, with its name.
    pub metric: Option<(&'a str, f64)>,
    /// Training examples a second.
    pub examples_per_second: Option<f64>,
    /// Work of an earlier process, told again by a run that was resumed: it says nothing about the
    /// time left.
    pub resumed: bool,
}

/// Receives the progress of a run. The calls come as often as the work likes; the receiver thins
/// them out.
pub trait Progress: Sync {
    /// A cell starts: the `index`-th (from 1) of `total` that this process wants.
    fn cell_started(&self, cell: &Cell, index: usize, total: usize);
    /// The current cell has come further.
    fn update(&self, update: &Update);
    /// The current cell is finished.
    fn cell_finished(&self, cell: &Cell, result: &CellResult);
    /// Something that the user should know, once.
    fn note(&self, text: &str);
    /// The run is over, well or not: what is shown must not stand in the way of what is printed
    /// next.
    fn run_finished(&self) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn cell_started(&self, _: &Cell, _: usize, _: usize) {}
    fn update(&self, _: &Update) {}
    fn cell_finished(&self, _: &Cell, _: &CellResult) {}
    fn note(&self, _: &str) {}
}
