//! What each kind of cell does.

pub mod difference;
pub mod generate;
pub mod pseudo;
pub mod quoted;
pub mod speed;
pub mod train;
pub mod translations_file;
pub mod work;
