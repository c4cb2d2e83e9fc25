//! Distillation itself, whatever the paper: data, models with taps, losses, methods and the
//! training loop. Nothing here prints, reads a command line or knows an experiment file.
//!
//! The way through the crate, from the outside in: [`train`] trains a network built from a
//! specification ([`model`]) with a distillation method ([`method`]), which is wiring around pure
//! functions ([`loss`]) on seeded data ([`data`], [`seed`]).

pub mod compare;
pub mod data;
pub mod device;
pub mod error;
pub mod exchange;
pub mod file_kind;
pub mod frozen;
pub mod inherit;
pub mod init;
pub mod loss;
pub mod memory;
pub mod method;
pub mod migration;
pub mod model;
pub mod params;
pub mod process;
pub mod seed;
pub mod stored_outputs;
pub mod torch_checkpoint;
pub mod train;
pub mod weight_map;

pub use error::{Error, Result};
pub use seed::Seed;
