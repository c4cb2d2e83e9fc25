//! Training kernels that Candle lacks or runs slowly on CPU.
//!
//! Each op is one folder: `mod.rs` holds the public function, its contract and the choice of path;
//! `cpu.rs` the kernel for contiguous f32 on the CPU; `reference.rs` the same function from stock
//! Candle ops, which is the oracle of the tests and the path for every other device and dtype.
//! Results do not depend on the number of threads.

mod activation;
mod elementwise;
mod exp;
mod graph;
mod kept_grad;
mod level;
mod moment;
mod multiversion;
mod operand;
mod output;
mod rows;
mod vector;

pub mod adam;
pub mod add;
pub mod attention;
pub mod attention_fusion;
pub mod batch_norm;
pub mod channel_shuffle;
pub mod conv2d;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod energy;
pub mod feed_forward;

pub mod gemm;
pub mod layer_norm;
pub mod linear;
pub mod max_norm;
pub mod multiply_add;
pub mod noise_contrast;
pub mod polynomial_mmd;
pub mod pool;
pub mod precision;
pub mod pyramid_distance;
pub mod relu;
pub mod residual_add;
pub mod sgd;
pub mod smoothed_cross_entropy;
pub mod softened_kl;
pub mod softmax;
pub mod squared_distance;
pub mod stream;
pub mod switch;
pub mod triples;
pub mod upsample;
pub mod weighted_sum;

pub use activation::Activation;
pub use graph::{Gradients, backward, backward_keeping};
pub use precision::Precision;
pub use switch::{Kernels, kernels_enabled, set_kernels};
