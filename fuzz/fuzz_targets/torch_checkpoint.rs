//! PyTorch checkpoints of both layouts: zip files, rows of pickles, and the tensors in them.

#![no_main]

use std::path::Path;

use kd_core::torch_checkpoint::Checkpoint;
use libfuzzer_sys::fuzz_target;

/// Checkpoints that PyTorch wrote, of both layouts: strided views, all dtypes, nested wrappers.
const SEEDS: [(&str, &[u8]); 6] = [
    ("views", include_bytes!("../../crates/kd-core/tests/golden/torch_checkpoints/views.pth")),
    (
        "views_old",
        include_bytes!("../../crates/kd-core/tests/golden/torch_checkpoints/views_old.pth"),
    ),
    ("dtypes", include_bytes!("../../crates/kd-core/tests/golden/torch_checkpoints/dtypes.pth")),
    (
        "dtypes_old",
        include_bytes!("../../crates/kd-core/tests/golden/torch_checkpoints/dtypes_old.pth"),
    ),
    ("last", include_bytes!("../../crates/kd-core/tests/golden/torch_checkpoints/last.pth")),
    (
        "last_old",
        include_bytes!("../../crates/kd-core/tests/golden/torch_checkpoints/last_old.pth"),
    ),
];

fuzz_target!(
    init: kd_fuzz::start(|| SEEDS.map(|(name, bytes)| (name, bytes.to_vec())).to_vec()),
    |bytes: &[u8]| kd_fuzz::run(|| {
        let Ok(mut checkpoint) = Checkpoint::from_bytes(Path::new("input"), bytes.to_vec()) else {
            return;
        };
        let _ = checkpoint.network();
        let _ = checkpoint.part("abfs");
        let _ = checkpoint.metadata();
    })
);
