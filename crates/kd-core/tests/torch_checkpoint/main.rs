//! PyTorch checkpoints: files that a real PyTorch wrote (`scripts/oracles/torch_checkpoints.py`),
//! files that hold something else, and files that were damaged or forged.

#[path = "../data/allocations.rs"]
mod allocations;
mod forged;
mod written;

use std::path::PathBuf;

/// The folder of the files that PyTorch wrote.
fn golden() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "torch_checkpoints"].iter().collect()
}
