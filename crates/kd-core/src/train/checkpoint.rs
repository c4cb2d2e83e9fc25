//! Files of networks: a finished one with its description, and the state of one that is still
//! training.
//!
//! Both are safetensors with one metadata entry, `kd`, in JSON. They are written under a temporary
//! name and renamed. In that entry a finished network may also say what it was trained on, under
//! `trained-on`. It is one entry because the format writes several in an order of its own, and a
//! network's file is the same bytes whenever it is written.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::data::TrainedOn;
use crate::file_kind::{self, FileKind, Looked};
use crate::model::NetworkSpec;
use crate::{Error, Result, params};
use kd_base::message::one_line;

/// The name of the metadata entry.
const KEY: &str = "kd";
/// The field of its object that says what a network was trained on.
const TRAINED_ON: &str = "trained-on";

/// Writes named tensors and a description to a safetensors file.
///
/// # Errors
/// When the file cannot be written; what stood there before is left as it was.
pub fn save<T: Serialize>(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    about: &T,
) -> Result<()> {
    kd_base::atomic::write(path, &bytes(tensors, about)?)?;
    Ok(())
}

/// The bytes of the file that [`save`] writes, for a place that a user named.
///
/// # Errors
/// When a description or a tensor cannot be written as such a file has it.
pub fn bytes<T: Serialize>(tensors: &BTreeMap<String, Tensor>, about: &T) -> Result<Vec<u8>> {
    let about = serde_json::to_string(about).map_err(|e| Error::bad_input(e.to_string()))?;
    serialized(tensors, about)
}

/// [`save`] of a network that is trained, with what it was trained on. [`load`] and [`description`]
/// read its specification as if that were not there; [`trained_on`] reads it.
///
/// # Errors
/// As [`save`].
pub fn save_trained(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    spec: &NetworkSpec,
    trained_on: &TrainedOn,
) -> Result<()> {
    let fault = |e: serde_json::Error| Error::bad_input(format!("{}: {e}", path.display()));
    let mut about = serde_json::to_value(spec).map_err(fault)?;
    if let Value::Object(fields) = &mut about {
        fields.insert(TRAINED_ON.to_owned(), serde_json::to_value(trained_on).map_err(fault)?);
    }
    kd_base::atomic::write(path, &serialized(tensors, about.to_string())?)?;
    Ok(())
}

fn serialized(tensors: &BTreeMap<String, Tensor>, about: String) -> Result<Vec<u8>> {
    let info = HashMap::from([(KEY.to_owned(), about)]);
    let on_cpu =
        tensors.iter().map(|(n, t)| Ok((n.clone(), t.to_device(&Device::Cpu)?.contiguous()?)));
    let on_cpu = on_cpu.collect::<Result<Vec<(String, Tensor)>>>()?;
    safetensors::serialize(on_cpu, Some(info)).map_err(|e| Error::bad_input(e.to_string()))
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// Bad input that names the file when it is no safetensors file, has no description, or one of
/// another kind, or as [`params::check_values`].
pub fn load<T: DeserializeOwned>(
    path: &Path,
    device: &Device,
) -> Result<(BTreeMap<String, Tensor>, T)> {
    let bytes = saved(path)?;
    let about = described(path, &bytes)?;
    let tensors = tensors(&bytes, device).map_err(|what| {
        Error::bad_input(format!("{}: expected whole tensors, got: {what}", path.display()))
    })?;
    params::check_values(&tensors).map_err(|e| e.about(path))?;
    Ok((tensors, about))
}

/// The most bytes of a file that is read as a whole: those of the largest network that is built
/// here ([`crate::model::MAX_WEIGHTS`]), thrice for the state of its training.
const MAX_BYTES: u64 = 3 << 33;

/// The bytes of a safetensors file. Of another file, which may have no end, the first are looked at
/// and no more are read.
///
/// # Errors
/// When the file cannot be read; bad input that says what it is when it is another kind of file.
pub(crate) fn saved(path: &Path) -> Result<Vec<u8>> {
    let io = |e| Error::io(path, e);
    let file = std::fs::File::open(path).map_err(io)?;
    let (kind, looked) = file_kind::look(file).map_err(io)?;
    let fault = |what: String| Error::bad_input(format!("{}: {what}", path.display()));
    match kind {
        FileKind::Safetensors => {}
        FileKind::Zip | FileKind::Pickle => {
            return Err(fault(format!(
                "expected a safetensors file, got {kind}; a PyTorch checkpoint has to be imported first"
            )));
        }
        _ => return Err(fault(format!("expected a safetensors file, got {kind}"))),
    }
    whole(path, looked)
}

/// All of a file whose first bytes have been looked at.
///
/// # Errors
/// When it cannot be read; bad input when it has more bytes than any network's.
pub(crate) fn whole(path: &Path, file: Looked<std::fs::File>) -> Result<Vec<u8>> {
    let bytes = file_kind::read_at_most(file, MAX_BYTES).map_err(|e| Error::io(path, e))?;
    bytes.ok_or_else(|| {
        let what = format!("expected at most {MAX_BYTES} bytes, got more");
        Error::bad_input(format!("{}: {what}", path.display()))
    })
}

/// The tensors in the bytes of a safetensors file, by name; the error is one line.
pub(crate) fn tensors(
    bytes: &[u8],
    device: &Device,
) -> std::result::Result<BTreeMap<String, Tensor>, String> {
    let (_, header) =
        safetensors::SafeTensors::read_metadata(bytes).map_err(|e| one_line(&e.to_string()))?;
    for (name, info) in header.tensors() {
        // A side of 0 makes any shape fit an empty tensor, and Candle multiplies the others.
        if info.shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side.max(1))).is_none() {
            return Err(one_line(&format!("{name} of shape {:?}", info.shape)));
        }
    }
    let tensors = candle_core::safetensors::load_buffer(bytes, device)
        .map_err(|e| one_line(&e.to_string()))?;
    Ok(tensors.into_iter().collect())
}

/// The description in a file that [`save`] wrote, without its tensors.
///
/// # Errors
/// As [`load`].
pub fn description<T: DeserializeOwned>(path: &Path) -> Result<T> {
    described(path, &saved(path)?)
}

/// What the network in a file was trained on; none where the file does not say, as files of other
/// programs do not.
///
/// # Errors
/// When the file cannot be read, and bad input that names it when it says so in a way that cannot be
/// understood.
pub fn trained_on(path: &Path) -> Result<Option<TrainedOn>> {
    let kind = file_kind::of_file(path).map_err(|e| Error::io(path, e))?;
    if kind != FileKind::Safetensors {
        return Ok(None);
    }
    let bytes = saved(path)?;
    let Some(Value::Object(mut about)) = entry(&bytes).and_then(|e| serde_json::from_str(&e).ok())
    else {
        return Ok(None);
    };
    let found = about.remove(TRAINED_ON).map(serde_json::from_value).transpose();
    found.map_err(|e| {
        Error::bad_input(format!("{}: the '{TRAINED_ON}' metadata: {e}", path.display()))
    })
}

/// The metadata entry of a safetensors file that has it.
fn entry(bytes: &[u8]) -> Option<String> {
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).ok()?;
    header.metadata().as_ref()?.get(KEY).cloned()
}

fn described<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let fault = |what: String| Error::bad_input(format!("{}: {what}", path.display()));
    safetensors::SafeTensors::read_metadata(bytes)
        .map_err(|e| fault(format!("expected a safetensors file, got: {e}")))?;
    let about = entry(bytes).ok_or_else(|| {
        fault(format!(
            "expected a network saved by this workspace, got no '{KEY}' metadata; another program's network has to be imported first"
        ))
    })?;
    let other = |e| fault(format!("the '{KEY}' metadata describes something else: {e}"));
    let mut about: Value = serde_json::from_str(&about).map_err(other)?;
    if let Value::Object(fields) = &mut about {
        fields.remove(TRAINED_ON);
    }
    serde_json::from_value(about).map_err(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Normalisation;

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
        // An empty tensor: Candle would multiply the two other sides.
        let header = r#"{"__metadata__":{"kd":"[1]"},"a":{"dtype":"F32","shape":[0,9223372036854775808,9223372036854775808],"data_offsets":[0,0]}}"#;
        let forged = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        std::fs::write(&path, forged).expect("a write");
        let e = load::<Vec<i32>>(&path, &Device::Cpu).expect_err("a forged shape").to_string();
        assert!(e.contains("a of shape [0, 9223372036854775808, 9223372036854775808]"), "{e}");
        std::fs::write(&path, &whole).expect("a write");
        assert!(load::<String>(&path, &Device::Cpu).expect_err("another kind").is_bad_input());
        Ok(())
    }

    #[test]
    fn what_a_network_was_trained_on_stands_beside_its_description() -> Result<()> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (path, plain) = (dir.path().join("net.safetensors"), dir.path().join("plain"));
        let tensors = BTreeMap::from([("a".to_owned(), Tensor::new(&[1f32], &Device::Cpu)?)]);
        let spec = NetworkSpec::from_name("resnet20", 2)?;
        let known = TrainedOn {
            data: Some("images:0".to_owned()),
            normalisation: Normalisation::Crd,
            classes: vec!["cat".to_owned(), "dög \n".to_owned()],
        };
        save_trained(&path, &tensors, &spec, &known)?;
        assert_eq!(description::<NetworkSpec>(&path)?, spec);
        assert_eq!(trained_on(&path)?, Some(known.clone()));
        let bytes = std::fs::read(&path).expect("the file");
        save_trained(&path, &tensors, &spec, &known)?;
        assert_eq!(std::fs::read(&path).expect("the file"), bytes);
        save(&plain, &tensors, &spec)?;
        assert_eq!(trained_on(&plain)?, None);
        std::fs::write(&plain, "no safetensors file").expect("a write");
        assert_eq!(trained_on(&plain)?, None);
        let mut text = bytes;
        let name = text.windows(3).position(|w| w == b"crd").expect("the normalisation");
        text[name] = b'd';
        std::fs::write(&plain, text).expect("a write");
        assert!(trained_on(&plain).expect_err("no normalisation of this name").is_bad_input());
        Ok(())
    }
}
