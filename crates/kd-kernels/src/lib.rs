//! Training kernels that Candle lacks or runs slowly on CPU.
pub mod gemm;
