//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009), and generated shapes for machines without a network.
//!
//! [`set`] says what they are. One file for each form the data come in: [`hub`] (tables of the
//! Hugging Face hub), [`binary`] and [`python`] (the two official archives' files, which
//! [`official`] lists), found by [`directory`] in a folder or by [`archive`] in a `.tar.gz`, and
//! [`embedded`] (the generator). [`load`] chooses between them.

pub mod archive;
pub mod binary;
pub mod directory;
pub mod embedded;
pub mod hub;
pub mod official;
pub mod python;
pub mod set;
mod shapes;
pub mod source;
mod textures;

pub use set::{Cifar, Kind, PIXELS, SIDE};
pub use source::{CifarRequest, CifarSource, load};
