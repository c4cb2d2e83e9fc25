//! The tensors of a file, listed before they are read.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use kd_base::message::{escaped, one_line};
use safetensors::SafeTensors;

use super::Place;
use super::fit::{self, Entry, Fit, Means, Misfit, Wanted};
use crate::file_kind::{self, FileKind, Looked};
use crate::torch_checkpoint::value::{Id, brief};
use crate::torch_checkpoint::{Checkpoint, MetadataValue, is_counter};
use crate::train::checkpoint;
use crate::{Error, Result};

/// A file and its tensors, those aside that no network here uses.
pub struct Contents {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
    /// What was found on the way, for the user.
    pub notes: Vec<String>,
    /// The prefix that was given.
    prefix: Option<String>,
}

enum File {
    /// With the place of each entry in the checkpoint.
    Torch(Box<Checkpoint>, Vec<Id>),
    /// Its bytes.
    Safetensors(Vec<u8>),
}

impl Contents {
    /// Opens a file and lists the tensors at `place`.
    ///
    /// # Errors
    /// Bad input that names the file when it is neither a checkpoint nor a safetensors file, or has
    /// no such place.
    pub fn open(path: &Path, place: &Place) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let (kind, looked) = file_kind::look(std::fs::File::open(path).map_err(io)?).map_err(io)?;
        let mut contents = match kind {
            FileKind::Safetensors => Self::safetensors(path, looked, place)?,
            _ => Self::torch(path, Checkpoint::of_looked(path, kind, looked)?, place)?,
        };
        contents.prefix = place.prefix.clone();
        Ok(contents)
    }

    fn torch(path: &Path, checkpoint: Checkpoint, place: &Place) -> Result<Self> {
        let found = checkpoint.state_dict(place.key.as_deref())?;
        let mut notes = Vec::new();
        if !found.key.is_empty() {
            notes.push(format!("state dict under {}", escaped(found.key)));
        }
        let (mut entries, mut ids) = (Vec::new(), Vec::new());
        let mut views = HashMap::new();
        for named in found.tensors.into_iter().filter(|named| !is_counter(&named.name)) {
            let (shape, fault) = match &named.view {
                Ok(view) if view.dtype.is_float() => (view.shape.clone(), None),
                Ok(view) => (view.shape.clone(), Some(not_float(view.dtype.as_str()))),
                Err(what) => (Vec::new(), Some(what.clone())),
            };
            // Two names of one tensor are one weight.
            let n = views.len();
            let same = match named.view {
                Ok(view) => *views.entry(view).or_insert(n),
                Err(_) => usize::MAX,
            };
            entries.push(Entry { name: named.name, shape, fault, same });
            ids.push(named.id);
        }
        let file = File::Torch(Box::new(checkpoint), ids);
        Ok(Self { path: path.to_owned(), file, entries, notes, prefix: None })
    }

    fn safetensors(path: &Path, looked: Looked<std::fs::File>, place: &Place) -> Result<Self> {
        let fault = |what: String| Error::bad_input(format!("{}: {what}", path.display()));
        if let Some(key) = &place.key {
            return Err(fault(format!(
                "expected no key with a safetensors file, which has none, got {}",
                brief(key)
            )));
        }
        let bytes = checkpoint::whole(path, looked)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| fault(format!("expected a safetensors file, got: {}", one_line(&e))))?;
        let mut tensors: Vec<_> = header.tensors().into_iter().collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let mut entries = Vec::with_capacity(tensors.len());
        for (same, (name, info)) in tensors.into_iter().enumerate() {
            if is_counter(&name) {
                continue;
            }
            let float = DType::try_from(info.dtype).is_ok_and(|dtype| dtype.is_float());
            let fault = (!float).then(|| not_float(&format!("{:?}", info.dtype)));
            entries.push(Entry { name, shape: info.shape.clone(), fault, same });
        }
        let file = File::Safetensors(bytes);
        Ok(Self { path: path.to_owned(), file, entries, notes: Vec::new(), prefix: None })
    }

    /// The tensors of a network among these; see [`fit::fit`].
    ///
    /// # Errors
    /// What does not fit.
    pub fn fit(&self, wanted: &Wanted, means: Means) -> std::result::Result<Fit, Misfit> {
        let ordered = matches!(self.file, File::Torch(..));
        fit::fit(&self.entries, ordered, wanted, means, self.prefix.as_deref())
    }

    /// What is listed.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The rows of each matrix.
    pub fn matrices(&self) -> impl Iterator<Item = usize> {
        self.entries.iter().filter(|e| e.shape.len() == 2 && e.fault.is_none()).map(|e| e.shape[0])
    }

    /// Reads the tensors at these places, and the biases behind them, each under the name beside
    /// its place.
    ///
    /// # Errors
    /// Bad input that names the file and the tensor when one is damaged.
    pub fn read(
        &mut self,
        from: &[(String, usize)],
        biases: &[(String, usize)],
    ) -> Result<(BTreeMap<String, Tensor>, BTreeMap<String, Tensor>)> {
        match &mut self.file {
            File::Torch(checkpoint, ids) => {
                let mut read = |places: &[(String, usize)]| {
                    checkpoint.read(places.iter().map(|(n, i)| (n.clone(), ids[*i])).collect())
                };
                Ok((read(from)?, read(biases)?))
            }
            File::Safetensors(bytes) => {
                let fault = |what: String| {
                    Error::bad_input(format!(
                        "{}: expected whole tensors, got: {what}",
                        self.path.display()
                    ))
                };
                let tensors = SafeTensors::deserialize(bytes).map_err(|e| fault(one_line(&e)))?;
                let read = |places: &[(String, usize)]| {
                    let one = |(name, i): &(String, usize)| {
                        let view = tensors
                            .tensor(&self.entries[*i].name)
                            .map_err(|e| fault(one_line(&e)))?;
                        let tensor = view.load(&Device::Cpu).map_err(|e| fault(one_line(&e)))?;
                        Ok((name.clone(), tensor))
                    };
                    places.iter().map(one).collect::<Result<BTreeMap<_, _>>>()
                };
                Ok((read(from)?, read(biases)?))
            }
        }
    }

    /// The numbers and texts beside the weights.
    ///
    /// # Errors
    /// As [`Checkpoint::metadata`].
    pub fn metadata(&mut self) -> Result<BTreeMap<String, MetadataValue>> {
        match &mut self.file {
            File::Torch(checkpoint, _) => checkpoint.metadata(),
            File::Safetensors(_) => Ok(BTreeMap::new()),
        }
    }
}

fn not_float(got: &str) -> String {
    format!("expected floating-point numbers, got {got}")
}
