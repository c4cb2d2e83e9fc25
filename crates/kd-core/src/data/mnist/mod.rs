//! The MNIST handwritten digits (LeCun, Bottou, Bengio and Haffner 1998), and a generated stand-in
//! for machines without a network.
//!
//! One file for each source: [`idx`] (a directory), [`hub`] (the Hugging Face hub), [`embedded`]
//! (the generator). [`load`] chooses between them.

pub mod embedded;
pub mod hub;
pub mod idx;
mod raster;
pub mod set;
pub mod source;
mod strokes;

pub use crate::data::Provenance;
pub use set::{CLASSES, Mnist, SIDE};
pub use source::{MnistRequest, MnistSource, load};
