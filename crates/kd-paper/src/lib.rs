//! What the program of a paper needs of both `kd-core`, which knows no experiment file, and
//! `kd-experiment`, which knows no tensor: its [`main()`], the [`Machine`] it runs on, a cell that
//! trains there ([`TrainingContext`], [`Meter`]), in fewer epochs ([`shortened`](shortened())) or
//! measured on training images ([`validation`]), and [`compare`](compare::compare).

pub mod compare;
pub mod data;
pub mod machine;
pub mod meter;
pub mod program;
pub mod shortened;
pub mod training_context;
pub mod validation;

pub use data::identity;
pub use machine::Machine;
pub use meter::Meter;
pub use program::main;
pub use shortened::shortened;
pub use training_context::TrainingContext;

/// Chosen by measurement: a training step makes and drops tensors of megabytes, and the system's
/// allocator gives their pages back and faults them in again at every step.
#[global_allocator]
static ALLOCATOR: kd_core::memory::Allocator = kd_core::memory::Allocator;
