//! From an experiment file to a table, so that a run can be stopped, resumed, split over machines and merged by copying folders.
//!
//! ```text
//! experiments/<paper>/<table>.toml          experiment   rows, grids, presets, seeds
//!        | expand                           expand       every number resolved, every cell once
//!        v
//!      Plan: cells in order, table lines    plan, cell   a cell's name is the hash of what decides its result
//!        | execute                          execute      runs what is not finished, through a `Paper`
//!        v
//! runs/<paper>/<cell>/result.json           store        one folder for each cell, locked while it runs
//!        | derive  (+ reference.csv)        table        a pure function of finished cells
//!        v
//! results/<paper>/<dataset>-<preset>/       pretty, plot the same for people, and curves
//! ```
//!
//! Read the modules in that order. Nothing here prints, and nothing that decides a result looks at a clock, a host or a thread.

pub mod atomic;
pub mod cell;
mod error;
pub mod execute;
pub mod expand;
pub mod experiment;
mod fields;
mod like;
pub mod meter;
pub mod nearest;
pub mod needs;
pub mod number;
mod overrides;
pub mod plan;
pub mod plot;
pub mod preset;
pub mod pretty;
pub mod progress;
pub mod reference;
pub mod result;
pub mod seeds;
pub mod store;
pub mod table;

pub use cell::{Cell, CellId};
pub(crate) use error::one_line;
pub use error::{AnyError, Result, RunError};
pub use execute::{Finished, Needed, Paper, Summary, check, execute};
pub use expand::{DataIdentity, Request, expand};
pub use experiment::Experiment;
pub use meter::Meter;
pub use needs::{Needs, Role};
pub use plan::{Plan, Shard, TablePlan};
pub use preset::Preset;
pub use progress::{Progress, Silent, Update};
pub use reference::References;
pub use result::{CellResult, Series};
pub use seeds::Seeds;
pub use store::{CellDir, CellState, Store};
pub use table::{Table, TableLine};
