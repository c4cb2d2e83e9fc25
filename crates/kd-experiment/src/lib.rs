//! From an experiment file to a table, so that a run can be stopped, resumed, split over machines
//! and merged by copying folders.
//!
//! ```text
//! experiments/<paper>/<table>.toml          experiment   rows, grids, presets, seeds (read by experiment_file)
//!        | expand                           expand       every number resolved, every cell once
//!        v
//!      Plan: cells in order, table lines    plan, cell   a cell's name is the hash of what decides its result
//!        | check                            check        every spec read once, through a `Paper`
//!        | execute                          execute      runs what is not finished
//!        v
//! runs/<paper>/<cell>/result.json           store, lock  one folder for each cell, locked while it runs
//!        | derive  (+ reference.csv)        table        a pure function of finished cells
//!        v
//! results/<paper>/<dataset>-<preset>/       pretty, plot the same for people, and curves
//! ```
//!
//! Read the modules in that order. [`sweep`] makes experiments of its own and runs them in the same
//! way. Nothing but [`cli`] prints, nothing that decides a result looks
//! at a clock, a host or a thread, and nothing here knows a tensor: what a cell computes is behind
//! the trait [`Paper`].

pub mod cell;
pub mod check;
pub mod cli;
pub mod data;
mod duration;
mod each;
pub mod error;
pub mod execute;
pub mod expand;
pub mod experiment;
pub mod experiment_file;
pub mod failure;
pub mod finished;
pub mod holder;
pub mod kept_cells;
mod like;
mod lock;
pub mod metric;
pub mod needs;
pub mod number;
mod overrides;
pub mod paper;
pub mod plan;
pub mod plot;
pub mod preset;
pub mod pretty;
pub mod progress;
mod reading;
pub mod reference;
pub mod result;
pub mod seeds;
pub mod specs;
pub mod store;
pub mod sweep;
pub mod table;
pub mod value;

pub use cell::{Cell, CellId};
pub use check::check;
pub use data::DataIdentity;
pub use error::{CellFailure, Error, Reason, Result};
pub use execute::{OnFailure, RunOptions, Summary, execute};
pub use expand::{ExpandRequest, expand};
pub use experiment::Experiment;
pub use failure::Failure;
pub use finished::{Finished, Needed};
pub use holder::Holder;
pub use metric::Metric;
pub use needs::{Needs, Role};
pub use paper::{Job, Paper};
pub use plan::{Group, Plan, Shard, TablePlan};
pub use preset::Preset;
pub use progress::{Progress, Silent, Update};
pub use reference::References;
pub use result::{CellResult, Series};
pub use seeds::Seeds;
pub use specs::{Parsed, Specs};
pub use store::{CellDir, CellState, Store};
pub use table::{Table, TableLine};
