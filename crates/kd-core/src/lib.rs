//! What distillation experiments share, whatever their paper: data, models with taps, losses, methods, the training loop,
//! cells and tables. Nothing here prints or reads the command line, except [`cli`].
//!
//! The way through the crate, from the outside in: a table's file expands to cells ([`run`]); a cell trains a network
//! ([`train`]) built from a specification ([`model`]) with a distillation method ([`method`]), which is wiring around pure
//! functions ([`loss`]) on seeded data ([`data`], [`seed`]).

pub mod bleu;
pub mod cli;
pub mod compare;
pub mod data;
pub mod device;
pub mod error;
pub mod exchange;
pub mod frozen;
pub mod inherit;
pub mod init;
pub mod loss;
pub mod memory;
pub mod method;
pub mod model;
pub mod params;
pub mod run;
pub mod seed;
pub mod torch_checkpoint;
pub mod train;
pub mod translation;

pub use error::{Error, Result};
pub use seed::Seed;
