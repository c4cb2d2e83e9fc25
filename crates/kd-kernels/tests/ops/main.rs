//! The ops against their twins, against PyTorch's values, by finite differences and by their laws,
//! a file for each op or concern. They are one program, which links once; tests that switch a
//! process's kernels or watch its memory have programs of their own beside this folder.

#[path = "../common/mod.rs"]
mod common;

mod backward;
mod batch_norm;
mod conv2d;
mod conv2d_direct;
mod conv2d_normalised;
mod conv2d_winograd;
mod conv_ops;
mod errors;
mod feature_losses;
mod generated_weights;
mod golden_case;
mod gradients;
mod graph;
mod laws;
mod linear;
mod maps;
mod noise_contrast;
mod oracle;
mod pool;
mod precision;
mod stream;
mod threads;
mod transformer;
mod transformer_golden;
mod twins;
