//! Training: one loop for every paper, with its optimisers, schedules, evaluation and checkpoints.

mod ahead;
pub mod checkpoint;
pub mod epochs_csv;
pub mod evaluate;
pub mod examples;
pub mod fit;
pub mod loss_terms;
pub mod observer;
pub mod optimizer;
pub mod phase;
pub mod phases;
pub mod schedule;
pub mod spec;
pub mod training;
mod unfinished;

pub use epochs_csv::write_epochs;
pub use evaluate::{Errors, evaluate, predict};
pub use examples::{Batch, Examples};
pub use fit::{Fit, Identity, Measure};
pub use loss_terms::{LossTerms, TermValue};
pub use observer::{EpochRecord, Observer, StepRecord};
pub use optimizer::{Optimizer, OptimizerSpec};
pub use phase::{Phase, Trains};
pub use phases::Phases;
pub use schedule::Schedule;
pub use spec::TrainSpec;
pub use training::{Task, Training};
