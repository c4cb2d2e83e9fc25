//! What distillation experiments share.

pub mod cli;
pub mod run;
