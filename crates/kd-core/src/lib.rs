//! What distillation experiments share.
pub mod data;
