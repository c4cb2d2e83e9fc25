//! Networks from PyTorch, and to it.
//!
//! A file's tensors are listed before any is read (`contents.rs`), each of the network's is found
//! among them (`fit.rs`), by its name, under a prefix, by another word for the same layer
//! (`words.rs`) or by the order of the layers, and only those are read.

mod contents;
mod fit;
mod likely;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::model::NetworkSpec;
use crate::torch_checkpoint::MetadataValue;
use crate::train::checkpoint;
use crate::{Error, Result, params};
use contents::Contents;
use fit::{Fit, Means, Wanted};

/// The most rows that are taken for the classes of a classifier.
const MOST_CLASSES: usize = 1 << 16;
/// The most matrices of different heights among which the classifier is looked for; no image
/// network here has more than one.
const MOST_MATRICES: usize = 4;

/// A network that was read from another program's file.
pub struct Imported {
    /// Its parameters and running statistics, f32, on the CPU; they fit the network exactly.
    pub tensors: BTreeMap<String, Tensor>,
    /// What else the file says: epochs, accuracy and the like.
    pub metadata: BTreeMap<String, MetadataValue>,
    /// What the weights were taken from, a line each: the key and the prefix, layers of other
    /// names, what was left out. Empty where names and shapes are the network's own.
    pub notes: Vec<String>,
}

/// Where in a file a network is, as far as it is given.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The key of the state dict, with points between keys within keys.
    pub key: Option<String>,
    /// What the names of the network's tensors begin with.
    pub prefix: Option<String>,
}

/// [`import_from`] with the place to be found.
///
/// # Errors
/// Those of [`import_from`].
pub fn import(path: &Path, network: &NetworkSpec) -> Result<Imported> {
    import_from(path, network, &Place::default())
}

/// Reads the weights of `network` from a PyTorch checkpoint of either layout, or from a safetensors
/// file.
///
/// Of a checkpoint, the state dict is at the key of `place`, or under one of those that training
/// programs use, or at the top. The tensors are those with the network's names and shapes, behind
/// the prefix of `place`, or behind one that all names share, such as `module.`, or `student.`, or
/// the only one behind which all of them are. Where names differ, `shortcut` stands for
/// `downsample`, `stage` for `layer` and `linear` for `fc`, and in a checkpoint the order and the
/// shapes of the layers decide at last. The bias of a convolution whose batch-norm follows is taken
/// off the running mean. [`Imported::notes`] says what was found. Tensors are read as f32; what the
/// network does not need is not read.
///
/// # Errors
/// Bad input that names the file when it is neither or is damaged; when the weights are another
/// network's, with some of what is missing, extra or of another shape, and the network that it is
/// likely of; when a weight is not finite or a variance negative, with its name.
pub fn import_from(path: &Path, network: &NetworkSpec, place: &Place) -> Result<Imported> {
    let mut contents = Contents::open(path, place)?;
    let wanted = Wanted::of(network)?;
    let fit = match contents.fit(&wanted, Means::All) {
        Ok(fit) => fit,
        Err(misfit) => return Err(likely::refusal(path, &contents, network, misfit)),
    };
    let Fit { from, folded, notes } = fit;
    let read = contents.read(&from, &folded).and_then(|(found, biases)| {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in found {
            tensors.insert(name, tensor.to_dtype(DType::F32)?);
        }
        for (mean, bias) in biases {
            if let Some(tensor) = tensors.get_mut(&mean) {
                *tensor = (&*tensor - bias.to_dtype(DType::F32)?)?;
            }
        }
        params::check_values(&tensors).map_err(|e| e.about(path))?;
        Ok(tensors)
    });
    Ok(Imported {
        tensors: read?,
        metadata: contents.metadata()?,
        notes: contents.notes.into_iter().chain(notes).collect(),
    })
}

/// Which network's weights are in a file that [`import`] reads: the one whose tensors have these
/// names and shapes, among those of [`NetworkSpec::named`] and [`NetworkSpec::padded`], or, with
/// `name`, the one of that name. The number of classes is the file's. A file of this workspace that
/// describes a network with another head ([`NetworkSpec::Headed`]) holds that one.
///
/// # Errors
/// As [`import`], with the tensors that differ from those of `name`; without it, bad input when the
/// tensors fit no network that is known.
pub fn recognise(path: &Path, name: Option<&str>) -> Result<NetworkSpec> {
    let contents = Contents::open(path, &Place::default())?;
    // What a head does is not told by tensors alone, but by the file's own description.
    if name.is_none()
        && let Ok(spec @ NetworkSpec::Headed { .. }) = checkpoint::description(path)
    {
        return match contents.fit(&Wanted::of(&spec)?, Means::Names) {
            Ok(_) => Ok(spec),
            Err(misfit) => Err(likely::refusal(path, &contents, &spec, misfit)),
        };
    }
    // The classifier is one of the matrices.
    let mut classes: Vec<usize> = contents.matrices().collect();
    classes.retain(|rows| (2..=MOST_CLASSES).contains(rows));
    classes.sort_unstable();
    classes.dedup();
    if classes.len() > MOST_MATRICES {
        classes.clear();
    }
    let Some(name) = name else {
        // A network with these very names comes before one that could be meant by others.
        for means in [Means::Names, Means::All] {
            for &classes in &classes {
                for spec in likely::known(classes) {
                    if contents.fit(&Wanted::of(&spec)?, means).is_ok() {
                        return Ok(spec);
                    }
                }
            }
        }
        let names: Vec<String> = NetworkSpec::named(2).iter().map(NetworkSpec::name).collect();
        return Err(Error::bad_input(format!(
            "{}: expected the tensors of one of {}, got those of none; NETWORK=FILE says what differs",
            path.display(),
            names.join(", ")
        )));
    };
    // Without a matrix any number of classes shows what is missing.
    let mut other = None;
    for classes in classes.into_iter().chain([2]) {
        let spec = NetworkSpec::from_name(name, classes)?;
        match contents.fit(&Wanted::of(&spec)?, Means::All) {
            Ok(_) => return Ok(spec),
            Err(misfit) => _ = other.get_or_insert((spec, misfit)),
        }
    }
    match other {
        Some((spec, misfit)) => Err(likely::refusal(path, &contents, &spec, misfit)),
        None => NetworkSpec::from_name(name, 2),
    }
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
