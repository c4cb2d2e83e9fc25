//! Writes every image network for PyTorch, with its logits for a few images:
//! `scripts/oracles/load_exported.py` loads them there.
//!
//! ```text
//! cargo run -p kd-core --example export_networks -- FOLDER
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use kd_core::exchange::export;
use kd_core::model::{Mode, NetworkSpec};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::{Error, Result, Seed};

fn main() -> Result<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or_else(|| Error::bad_input("expected a folder to write to, got no argument"))?;
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let mut values = vec![0f32; 4 * 3 * 32 * 32];
    Seed(1).stream("images", 0, 0).fill_normal(0, &mut values);
    let images = Tensor::from_vec(values, (4, 3, 32, 32), &Device::Cpu)?;
    for spec in NetworkSpec::named(100) {
        let (params, vb) = Params::seeded(Seed(1), &Device::Cpu);
        let network = spec.build(vb)?;
        // One step of training moves the running statistics away from 0 and 1.
        network.forward(
            &images,
            &[],
            Mode::Train(StepSeed { seed: Seed(1), epoch: 0, step: 0 }),
        )?;
        let logits = network.forward(&images, &[], Mode::Evaluate)?.logits;
        let name = spec.name();
        let write = |ending: &str, bytes: &[u8]| {
            let path = folder.join(format!("{name}{ending}"));
            std::fs::write(&path, bytes).map_err(|e| Error::io(&path, e))
        };
        write(".safetensors", &export(&params.snapshot()?)?)?;
        let seen =
            BTreeMap::from([("images".to_owned(), images.clone()), ("logits".to_owned(), logits)]);
        write(".seen.safetensors", &export(&seen)?)?;
    }
    Ok(())
}
