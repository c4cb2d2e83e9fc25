//! Losses: pure functions of tensors and numbers. They take logits, never probabilities, and know no model or configuration.
//!
//! Those with a kernel of their own live in `kd-kernels` and are named here, so that this is the place to look for a loss.

pub mod hierarchical_context;
pub mod hint;
pub mod logit_regression;
mod operands;
#[cfg(test)]
mod testing;

pub use hierarchical_context::hierarchical_context;
pub use hint::hint;
pub use kd_kernels::cross_entropy::cross_entropy;
pub use kd_kernels::softened_kl::softened_kl;
pub use logit_regression::logit_regression;
