//! The Transformer of Vaswani et al. 2017 for translation.
//!
//! [`spec`] says what it is made of, `block` holds attention and feed-forward blocks, and
//! [`Decoding`] runs the decoder word by word with cached keys and values.

mod block;
mod cache;
mod decoding;
mod network;
mod positions;
pub mod spec;

pub use decoding::Decoding;
pub(crate) use network::Positions;
pub use network::{MAX_POSITIONS, Memory, Transformer};
pub use positions::sinusoidal;
pub use spec::{Embeddings, Norm, Stack, TransformerSpec};
