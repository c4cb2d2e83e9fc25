//! What a cell does.

pub mod migrate;
pub mod selection;
pub mod train;
