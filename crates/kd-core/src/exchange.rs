//! Networks from PyTorch, and to it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::model::NetworkSpec;
use crate::torch_checkpoint::{Checkpoint, MetadataValue};
use crate::train::checkpoint;
use crate::{Error, Result, params};

/// The most rows that are taken for the classes of a classifier.
const MOST_CLASSES: usize = 1 << 16;

/// A network that was read from another program's file.
pub struct Imported {
    /// Its parameters and running statistics, f32, on the CPU; they fit the network exactly.
    pub tensors: BTreeMap<String, Tensor>,
    /// What else the file says: epochs, accuracy and the like.
    pub metadata: BTreeMap<String, MetadataValue>,
}

/// Reads the weights of `network` from a PyTorch checkpoint of either layout (see
/// [`Checkpoint::network`] for where it looks and which prefixes it takes off), or from a
/// safetensors file with the same names.
///
/// # Errors
/// Bad input that names the file when it is neither or is damaged, or, with every name that is
/// missing, extra or of another shape, when the weights are another network's.
pub fn import(path: &Path, network: &NetworkSpec) -> Result<Imported> {
    let (found, metadata) = read(path)?;
    let tensors = found
        .into_iter()
        .map(|(name, t)| Ok((name, t.to_dtype(DType::F32)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    check(path, &tensors, network)?;
    Ok(Imported { tensors, metadata })
}

/// Which network's weights are in a file that [`import`] reads: the one whose tensors have these
/// names and shapes, among those of [`NetworkSpec::named`], or, with `name`, the one of that name.
/// The number of classes is the file's.
///
/// # Errors
/// As [`import`], with the tensors that differ from those of `name`; without it, bad input when the
/// tensors fit no network that is known.
pub fn recognise(path: &Path, name: Option<&str>) -> Result<NetworkSpec> {
    let (tensors, _) = read(path)?;
    // The classifier is one of the matrices.
    let mut classes: Vec<usize> =
        tensors.values().filter_map(|t| t.dims2().ok()).map(|(rows, _)| rows).collect();
    classes.retain(|rows| (2..=MOST_CLASSES).contains(rows));
    classes.sort_unstable();
    classes.dedup();
    let Some(name) = name else {
        let known = |&classes: &usize| NetworkSpec::named(classes);
        let mut fitting =
            classes.iter().flat_map(known).filter(|spec| check(path, &tensors, spec).is_ok());
        return fitting.next().ok_or_else(|| {
            let names: Vec<String> = NetworkSpec::named(2).iter().map(NetworkSpec::name).collect();
            Error::bad_input(format!(
                "{}: expected the tensors of one of {}, got those of none; NETWORK=FILE says what differs",
                path.display(),
                names.join(", ")
            ))
        });
    };
    // Without a matrix any number of classes shows what is missing.
    let mut other = Ok(());
    for classes in classes.into_iter().chain([2]) {
        let spec = NetworkSpec::from_name(name, classes)?;
        match check(path, &tensors, &spec) {
            Ok(()) => return Ok(spec),
            Err(e) => other = other.and(Err(e)),
        }
    }
    other.and_then(|()| NetworkSpec::from_name(name, 2))
}

/// Names and values in a file, as they are there, and its metadata.
type Contents = (BTreeMap<String, Tensor>, BTreeMap<String, MetadataValue>);

fn read(path: &Path) -> Result<Contents> {
    if is_safetensors(path)? {
        return Ok((read_safetensors(path)?, BTreeMap::new()));
    }
    let mut checkpoint = Checkpoint::open(path)?;
    Ok((checkpoint.network()?, checkpoint.metadata()?))
}

/// Fails unless the tensors are those of `network`.
fn check(path: &Path, tensors: &BTreeMap<String, Tensor>, network: &NetworkSpec) -> Result<()> {
    let built = params::build_frozen(tensors.clone(), &Device::Cpu, |vb| network.build(vb));
    built.map(|_| ()).map_err(|e| match e {
        Error::BadInput(what) => Error::BadInput(format!("{}: {what}", path.display())),
        other => other,
    })
}

/// A safetensors file begins with the length of its header, which is a JSON object.
fn is_safetensors(path: &Path) -> Result<bool> {
    use std::io::Read;
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    file.take(9).read_to_end(&mut head).map_err(|e| Error::io(path, e))?;
    Ok(head.get(8) == Some(&b'{') && !head.starts_with(b"PK"))
}

fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let tensors = checkpoint::tensors(&bytes, &Device::Cpu).map_err(|what| {
        Error::bad_input(format!("{}: expected a safetensors file, got: {what}", path.display()))
    })?;
    Ok(tensors
        .into_iter()
        .filter(|(name, _)| name.rsplit('.').next() != Some("num_batches_tracked"))
        .collect())
}

/// The bytes of a safetensors file of a network's parameters and running statistics, which PyTorch
/// loads into the same network:
///
/// ```python
/// network.load_state_dict(safetensors.torch.load_file(path), strict=True)
/// ```
///
/// Names and values are those of `tensors`; for each batch-norm, the counter `num_batches_tracked`
/// that PyTorch expects is added, an int64 of 0.
///
/// # Errors
/// When a tensor cannot be written as such a file has it.
pub fn export(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    let mut all = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if let Some(layer) = name.strip_suffix("running_mean") {
            all.push((format!("{layer}num_batches_tracked"), Tensor::new(0i64, &Device::Cpu)?));
        }
        all.push((name.clone(), tensor.to_device(&Device::Cpu)?.contiguous()?));
    }
    // Some of PyTorch's programs refuse a safetensors file that does not say so.
    let info = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(all, Some(info)).map_err(|e| Error::bad_input(e.to_string()))
}
