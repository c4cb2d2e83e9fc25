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
mod source;
mod state_dict;
mod tensor;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};

use crate::file_kind::{self, FileKind, Looked};
use crate::{Error, Result};
use container::Container;
use source::Source;
pub(crate) use state_dict::StateDict;
use tensor::Reader;
use value::{Heap, Id, Reason, Value, brief};

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
    /// A Python int, or a tensor of one whole number, with all its digits.
    Integer(i128),
    /// A Python float, or a tensor of one.
    Number(f64),
    /// A text.
    Text(String),
}

impl Checkpoint {
    /// Opens the file, of either layout, and reads its values but no tensor. The first bytes are
    /// looked at before more is read.
    ///
    /// # Errors
    /// Bad input that names the file when it is no PyTorch checkpoint, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let (kind, looked) = file_kind::look(file).map_err(|e| Error::io(path, e))?;
        Self::of_looked(path, kind, looked)
    }

    /// [`Checkpoint::open`] of a file whose first bytes have been looked at.
    pub(crate) fn of_looked(path: &Path, kind: FileKind, looked: Looked<File>) -> Result<Self> {
        Self::of(path, kind, Source::of(path, kind, looked)?)
    }

    /// Opens a file whose bytes are already read; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let kind = FileKind::of(&bytes[..bytes.len().min(512)]);
        Self::of(path, kind, Source::Memory(Cursor::new(bytes)))
    }

    fn of(path: &Path, kind: FileKind, source: Source) -> Result<Self> {
        let file_bytes = usize::try_from(source.len()).unwrap_or(usize::MAX);
        let (heap, container) = container::open(kind, source)
            .map_err(|what| Error::bad_input(format!("{}: {what}", path.display())))?;
        Ok(Self { path: path.to_owned(), heap, container, file_bytes })
    }

    /// The weights of the network in the checkpoint, by name, in the file's dtypes (`bool` as
    /// `u8`), on the CPU.
    ///
    /// The state dict is looked for under the keys that training programs use (`model`,
    /// `state_dict`, `model_state_dict`, `net` and others), at the top, and under a key that alone
    /// has tensors. A leading `module.` is taken off the names (`DataParallel` puts it there);
    /// then, if any name begins with `student.`, only those that do are kept, without it. Entries
    /// called `num_batches_tracked`, which no network here uses, are left out, and those that are
    /// no tensors. What stands elsewhere in the file, such as an optimiser's state, is not read.
    ///
    /// # Errors
    /// Bad input that names the file when there is no state dict or a tensor of it is damaged.
    pub fn network(&mut self) -> Result<BTreeMap<String, Tensor>> {
        let entries = self.entries()?;
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
        let kept = self.entries()?.into_iter().filter_map(|(name, id)| {
            Some((name.strip_prefix(part)?.strip_prefix('.')?.to_owned(), id))
        });
        self.read(kept.filter(|(name, _)| !is_counter(name)).collect())
    }

    /// The numbers and texts beside the weights, by name; those that are neither, or cannot be
    /// read, are left out.
    ///
    /// # Errors
    /// When Candle cannot hold a number that was read.
    pub fn metadata(&mut self) -> Result<BTreeMap<String, MetadataValue>> {
        let mut metadata = BTreeMap::new();
        let is_wrapped =
            state_dict::find(&self.heap, None).is_ok_and(|found| !found.key.is_empty());
        let entries = if is_wrapped { self.heap.entries(self.heap.root) } else { None };
        let mut reader = Reader::new(&self.heap, &mut self.container, self.file_bytes);
        for (key, id) in entries.unwrap_or_default() {
            let Some(name) = self.heap.text(key) else { continue };
            let value = match self.heap.get(id) {
                Value::Int(n) => MetadataValue::Integer(*n),
                Value::Float(x) => MetadataValue::Number(*x),
                Value::Text(text) => MetadataValue::Text(brief(text)),
                _ => {
                    let view = tensor::storage_view(&self.heap, id).ok();
                    let one = view.filter(|view| view.shape.iter().all(|side| *side == 1));
                    let Some(tensor) = one.and_then(|_| reader.tensor(id).ok()) else { continue };
                    number(&tensor)?
                }
            };
            metadata.insert(brief(name), value);
        }
        Ok(metadata)
    }

    /// The tensors of the network at `key`, or where [`Checkpoint::network`] finds them, with their
    /// names as they are in the file, before any of them is read.
    ///
    /// # Errors
    /// Bad input that names the file when there is no state dict.
    pub(crate) fn state_dict(&self, key: Option<&str>) -> Result<StateDict> {
        state_dict::find(&self.heap, key).map_err(|what| self.fault(what))
    }

    /// Reads tensors of a state dict; each comes with the name that it is to have.
    ///
    /// # Errors
    /// Bad input that names the file and the tensor when one is damaged or there twice.
    pub(crate) fn read(&mut self, entries: Vec<(String, Id)>) -> Result<BTreeMap<String, Tensor>> {
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

    fn fault(&self, what: Reason) -> Error {
        Error::bad_input(format!("{}: {what}", self.path.display()))
    }

    /// The entries of the state dict, with `module.` taken off.
    fn entries(&self) -> Result<Vec<(String, Id)>> {
        let found = self.state_dict(None)?;
        let bare = |name: String| match name.strip_prefix("module.") {
            Some(rest) => rest.to_owned(),
            None => name,
        };
        Ok(found.tensors.into_iter().map(|tensor| (bare(tensor.name), tensor.id)).collect())
    }
}

/// The one number of a tensor.
fn number(tensor: &Tensor) -> Result<MetadataValue> {
    let first = |dtype| tensor.to_dtype(dtype)?.flatten_all()?.get(0);
    Ok(match tensor.dtype().is_int() {
        true => MetadataValue::Integer(first(DType::I64)?.to_scalar::<i64>()?.into()),
        false => MetadataValue::Number(first(DType::F64)?.to_scalar()?),
    })
}

/// How often a batch-norm has run: PyTorch keeps it, and uses it only for a momentum that no
/// network here has.
pub(crate) fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}
