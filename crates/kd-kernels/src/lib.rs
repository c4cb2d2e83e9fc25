//! Training kernels that Candle lacks or runs slowly on CPU.
pub mod backward;
pub mod gemm;
pub mod linear;
pub mod switch;

pub use backward::{Gradients, backward};
pub use switch::{kernels_enabled, set_kernels_enabled};
