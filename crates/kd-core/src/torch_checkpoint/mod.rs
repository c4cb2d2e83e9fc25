//! PyTorch checkpoints, read without running any code from them.
//!
//! A checkpoint is a pickle, a program that builds Python objects by calling whatever it names. The
//! interpreter here (`pickle.rs`) builds plain data instead: a call stays a description of a call,
//! and only the descriptions of tensors are ever looked into. Both layouts are read, the zip file
//! that `torch.save` writes since PyTorch 1.6 and the row of pickles that it wrote before.
//!
//! Memory is bounded by the file: no length in it is believed before the bytes behind it have been
//! seen, and tensors may not amount to more than a few times its size.

mod container;
mod element;
pub(crate) mod pickle;
mod tensor;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};

use crate::{Error, Result};
use container::Container;
use tensor::Reader;
use value::{Heap, Id, Reason, Value, brief};

/// The keys under which training programs keep a network's weights.
const WRAPPERS: [&str; 2] = ["model", "state_dict"];

/// A checkpoint that has been opened: its values are known, its tensors are read when asked for.
pub struct Checkpoint {
    path: PathBuf,
    heap: Heap,
    container: Container,
    file_bytes: usize,
}

/// A number or a text that stands beside the weights, such as `epoch` or `best_acc`.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataValue {
    /// A number: a Python int or float, or a tensor of one element.
    Number(f64),
    /// A text.
    Text(String),
}

impl Checkpoint {
    /// Opens the file, of either layout, and reads its values but no tensor.
    ///
    /// # Errors
    /// Bad input that names the file when it is no PyTorch checkpoint, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_bytes(path, std::fs::read(path).map_err(|e| Error::io(path, e))?)
    }

    /// Opens a file whose bytes are already read; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let file_bytes = bytes.len();
        let (heap, container) = container::open(bytes)
            .map_err(|what| Error::bad_input(format!("{}: {what}", path.display())))?;
        Ok(Self { path: path.to_owned(), heap, container, file_bytes })
    }

    /// The weights of the network in the checkpoint, by name, in the file's dtypes (`bool` as
    /// `u8`), on the CPU.
    ///
    /// The state dict is looked for under `model`, under `state_dict`, and at the top. A leading
    /// `module.` is taken off the names (`DataParallel` puts it there); then, if any name
    /// begins with `student.`, only those that do are kept, without it. Entries called
    /// `num_batches_tracked`, which no network here uses, are left out. What stands elsewhere in
    /// the file, such as an optimiser's state, is not read.
    ///
    /// # Errors
    /// Bad input that names the file when there is no state dict or a tensor of it is damaged.
    pub fn network(&mut self) -> Result<BTreeMap<String, Tensor>> {
        let entries = self.entries().map_err(|what| self.fault(what))?;
        let student = entries.iter().any(|(name, _)| name.starts_with("student."));
        let kept = entries.into_iter().filter_map(|(name, id)| {
            if student {
                Some((name.strip_prefix("student.")?.to_owned(), id))
            } else {
                Some((name, id))
            }
        });
        self.read(kept.filter(|(name, _)| !is_counter(name)).collect())
    }

    /// The tensors whose names begin with `part` and a point, without both: `abfs` for the adapters
    /// of ReviewKD, `teacher` for the teacher that was saved along. Empty if there are none.
    /// The rules of [`Checkpoint::network`] hold otherwise.
    ///
    /// # Errors
    /// As [`Checkpoint::network`].
    pub fn part(&mut self, part: &str) -> Result<BTreeMap<String, Tensor>> {
        let entries = self.entries().map_err(|what| self.fault(what))?;
        let kept = entries.into_iter().filter_map(|(name, id)| {
            Some((name.strip_prefix(part)?.strip_prefix('.')?.to_owned(), id))
        });
        self.read(kept.filter(|(name, _)| !is_counter(name)).collect())
    }

    /// The numbers and texts beside the weights, by name; those that are neither are left out.
    ///
    /// # Errors
    /// Bad input that names the file when a number kept as a tensor is damaged.
    pub fn metadata(&mut self) -> Result<BTreeMap<String, MetadataValue>> {
        let mut metadata = BTreeMap::new();
        let mut reader = Reader::new(&self.heap, &mut self.container, self.file_bytes);
        let wrapped = WRAPPERS.iter().any(|key| self.heap.entry(self.heap.root, key).is_some());
        let entries = if wrapped { self.heap.entries(self.heap.root) } else { None };
        for (key, id) in entries.unwrap_or_default() {
            let Some(name) = self.heap.text(key) else { continue };
            let value = match self.heap.get(id) {
                Value::Int(n) => MetadataValue::Number(*n as f64),
                Value::Float(x) => MetadataValue::Number(*x),
                Value::Text(text) => MetadataValue::Text(brief(text)),
                _ if tensor::is_tensor(&self.heap, id) => {
                    let damaged = |what: Reason| {
                        Error::bad_input(format!(
                            "{}: {}: {what}",
                            self.path.display(),
                            brief(name)
                        ))
                    };
                    let tensor = reader.tensor(id).map_err(damaged)?;
                    match tensor.elem_count() {
                        1 => MetadataValue::Number(
                            tensor.to_dtype(DType::F64)?.flatten_all()?.get(0)?.to_scalar()?,
                        ),
                        _ => continue,
                    }
                }
                _ => continue,
            };
            metadata.insert(brief(name), value);
        }
        Ok(metadata)
    }

    fn fault(&self, what: Reason) -> Error {
        Error::bad_input(format!("{}: {what}", self.path.display()))
    }

    /// The entries of the state dict, with `module.` taken off.
    fn entries(&self) -> Result<Vec<(String, Id)>, Reason> {
        let heap = &self.heap;
        let wrapped = WRAPPERS.iter().find_map(|key| Some((*key, heap.entry(heap.root, key)?)));
        let (place, id) = wrapped.map_or(("the top", heap.root), |(key, id)| (key, id));
        let entries = heap.entries(id).ok_or_else(|| match heap.get(id) {
            Value::Object { .. } => format!(
                "expected a state dict at {place}, got {}: save its state_dict() instead",
                heap.kind(id)
            ),
            _ => format!("expected a state dict at {place}, got {}", heap.kind(id)),
        })?;
        let mut named = Vec::with_capacity(entries.len());
        for (key, id) in entries {
            let name = heap.text(key).ok_or_else(|| {
                format!("expected names in the state dict at {place}, got {}", heap.kind(key))
            })?;
            if !tensor::is_tensor(heap, id) {
                let name = brief(name);
                return Err(format!(
                    "expected a tensor for every name in the state dict at {place}, got {} for {name}",
                    heap.kind(id)
                ));
            }
            named.push((name.strip_prefix("module.").unwrap_or(name).to_owned(), id));
        }
        if named.is_empty() {
            Err(format!("expected a state dict at {place}, got an empty one"))
        } else {
            Ok(named)
        }
    }

    fn read(&mut self, entries: Vec<(String, Id)>) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = BTreeMap::new();
        let mut reader = Reader::new(&self.heap, &mut self.container, self.file_bytes);
        for (name, id) in entries {
            let damaged = |what: Reason| {
                Error::bad_input(format!("{}: {}: {what}", self.path.display(), brief(&name)))
            };
            let tensor = reader.tensor(id).map_err(damaged)?;
            if tensors.contains_key(&name) {
                return Err(damaged("expected one tensor of this name, got two".into()));
            }
            tensors.insert(name, tensor);
        }
        Ok(tensors)
    }
}

/// How often a batch-norm has run: PyTorch keeps it, and uses it only for a momentum that no
/// network here has.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}
