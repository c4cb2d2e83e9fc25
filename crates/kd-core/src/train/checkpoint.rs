//! Files of networks: a finished one with its description, and the state of one that is still
//! training.
//!
//! Both are safetensors with one metadata entry, `kd`, in JSON. They are written under a temporary
//! name and renamed.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The name of the metadata entry.
const KEY: &str = "kd";

/// Writes named tensors and a description to a safetensors file.
///
/// # Errors
/// When the file cannot be written; what stood there before is left as it was.
pub fn save<T: Serialize>(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    about: &T,
) -> Result<()> {
    let about = serde_json::to_string(about)
        .map_err(|e| Error::bad_input(format!("{}: {e}", path.display())))?;
    let info = HashMap::from([(KEY.to_owned(), about)]);
    let on_cpu =
        tensors.iter().map(|(n, t)| Ok((n.clone(), t.to_device(&Device::Cpu)?.contiguous()?)));
    let on_cpu = on_cpu.collect::<Result<Vec<(String, Tensor)>>>()?;
    let bytes = safetensors::serialize(on_cpu, Some(info))
        .map_err(|e| Error::bad_input(format!("{}: {e}", path.display())))?;
    kd_base::atomic::write(path, &bytes)?;
    Ok(())
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// Bad input that names the file when it is no safetensors file, has no description, or one of
/// another kind.
pub fn load<T: DeserializeOwned>(
    path: &Path,
    device: &Device,
) -> Result<(BTreeMap<String, Tensor>, T)> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let about = described(path, &bytes)?;
    let fault = |e: candle_core::Error| {
        Error::bad_input(format!("{}: expected whole tensors, got: {e}", path.display()))
    };
    let tensors = candle_core::safetensors::load_buffer(&bytes, device).map_err(fault)?;
    Ok((tensors.into_iter().collect(), about))
}

/// The description in a file that [`save`] wrote, without its tensors.
///
/// # Errors
/// As [`load`].
pub fn description<T: DeserializeOwned>(path: &Path) -> Result<T> {
    described(path, &std::fs::read(path).map_err(|e| Error::io(path, e))?)
}

fn described<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let fault = |what: String| Error::bad_input(format!("{}: {what}", path.display()));
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes)
        .map_err(|e| fault(format!("expected a safetensors file, got: {e}")))?;
    let about = header.metadata().as_ref().and_then(|m| m.get(KEY));
    let about = about.ok_or_else(|| {
        fault(format!("expected a network saved by this workspace, got no '{KEY}' metadata"))
    })?;
    serde_json::from_str(about)
        .map_err(|e| fault(format!("the '{KEY}' metadata describes something else: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_a_damaged_file_is_bad_input_that_names_it() -> Result<()> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("net.safetensors");
        let tensors =
            BTreeMap::from([("a".to_owned(), Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?)]);
        save(&path, &tensors, &vec![1, 2])?;
        let (back, about) = load::<Vec<i32>>(&path, &Device::Cpu)?;
        assert_eq!(
            (back["a"].to_vec2::<f32>()?, about),
            (vec![vec![1., 2.], vec![3., 4.]], vec![1, 2])
        );
        let whole = std::fs::read(&path).expect("the file");
        for cut in [0, 5, 20, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).expect("a write");
            let e = load::<Vec<i32>>(&path, &Device::Cpu).expect_err("a truncated file");
            assert!(e.is_bad_input() && e.to_string().contains("net.safetensors"), "{e}");
        }
        std::fs::write(&path, &whole).expect("a write");
        assert!(load::<String>(&path, &Device::Cpu).expect_err("another kind").is_bad_input());
        Ok(())
    }
}
