//! What each kind of cell does.

pub mod train;
