//! Nodes of the graph whose gradients do not pass through Candle's store.
//!
//! Candle starts the gradient of every tensor with zeros and adds to it in fresh memory, on one
//! thread. For a chain of convolutions and normalisations that is more traffic than the gradients
//! themselves. An op that is recorded here shows Candle only *tokens*, tensors of one element that
//! stand for its inputs and its result: Candle walks them in the right order, and the gradients
//! travel beside them, from node to node, by ownership. A gradient with one consumer is never
//! copied, two are summed in place, and an op may write its result over the gradient that it was
//! given. Stock ops before and after see ordinary tensors, and `Tensor::backward` works as ever.
//!
//! A backward pass is [`backward()`]: it walks the graph as Candle does, and the ops of this crate
//! hand the gradients of variables to its sink.

mod backward;
mod grad;
mod node;
mod sink;

pub use backward::{Gradients, backward, backward_keeping};
pub(crate) use grad::{Grad, sum, values};
pub(crate) use node::{Backward, record};
pub(crate) use sink::{deposit_in_place, frees_activations};
