//! Tensors of a checkpoint: a storage, an offset, a shape and strides.

use std::collections::HashMap;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};

use super::container::Container;
use super::element::dtype;
use super::value::{Heap, Id, Reason, Value};

/// Most parameters and subclasses around a tensor; PyTorch wraps it in one of each. A forged file
/// could wrap it in thousands, and have thousands of names for it.
const MAX_WRAPPERS: usize = 8;
/// Most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 8;

/// Where a tensor's numbers lie; sizes in elements.
#[derive(Clone, PartialEq, Eq, Hash)]
struct StorageView {
    storage: String,
    dtype: DType,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// What makes a tensor, if the value is one: any of the functions that PyTorch's tensors and
/// parameters have been rebuilt by.
fn arguments(heap: &Heap, id: Id) -> Option<&[Id]> {
    let mut call = match heap.get(id) {
        Value::Object { class, args, .. } => (heap.global(*class)?, heap.tuple(*args)?),
        _ => return None,
    };
    // A parameter wraps a tensor, and a subclass wraps a function with its arguments.
    for _ in 0..=MAX_WRAPPERS {
        call = match call {
            ("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", args) => {
                return Some(args);
            }
            (
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
                [data, ..],
            ) => match heap.get(*data) {
                Value::Object { class, args, .. } => (heap.global(*class)?, heap.tuple(*args)?),
                _ => return None,
            },
            ("torch._tensor._rebuild_from_type_v2", [function, _, args, ..]) => {
                (heap.global(*function)?, heap.tuple(*args)?)
            }
            _ => return None,
        };
    }
    None
}

/// Whether a value is a tensor, be it one that we can read or not.
pub fn is_tensor(heap: &Heap, id: Id) -> bool {
    arguments(heap, id).is_some()
}

fn storage_view(heap: &Heap, id: Id) -> Result<StorageView, Reason> {
    let unusual = || {
        "expected the storage, offset, shape and strides of a tensor, got other values".to_owned()
    };
    let [storage, offset, shape, strides, ..] = *arguments(heap, id).ok_or_else(unusual)? else {
        return Err(unusual());
    };
    let Value::Persistent(storage) = heap.get(storage) else { return Err(unusual()) };
    let [_, class, key, _, _, ref view @ ..] = *heap.tuple(*storage).ok_or_else(unusual)? else {
        return Err(unusual());
    };
    let class = heap.global(class).ok_or_else(unusual)?;
    let key = heap.text(key).ok_or_else(unusual)?;
    let mut offset = heap.size(offset).ok_or_else(unusual)?;
    // Before PyTorch 1.6 a storage could itself be a part of another: (key, offset, size).
    if let [view, ..] = view
        && let Some(&[_, start, _]) = heap.tuple(*view)
    {
        offset =
            heap.size(start).and_then(|start| start.checked_add(offset)).ok_or_else(unusual)?;
    }
    let (shape, strides) =
        (sizes(heap, shape).ok_or_else(unusual)?, sizes(heap, strides).ok_or_else(unusual)?);
    if shape.len() != strides.len() {
        return Err(format!(
            "expected a stride for each of {} dimensions, got {}",
            shape.len(),
            strides.len()
        ));
    }
    Ok(StorageView { storage: key.to_owned(), dtype: dtype(class)?, offset, shape, strides })
}

/// The sizes of a shape: a tuple, or a `torch.Size` of one.
fn sizes(heap: &Heap, id: Id) -> Option<Vec<usize>> {
    let items = match heap.get(id) {
        Value::Object { class, args, .. } if heap.global(*class) == Some("torch.Size") => {
            heap.tuple(*heap.tuple(*args)?.first()?)?
        }
        _ => heap.tuple(id)?,
    };
    (items.len() <= MAX_DIMENSIONS).then(|| items.iter().map(|i| heap.size(*i)).collect())?
}

impl StorageView {
    /// How many numbers the tensor has, and how many a storage must have for it. `None` where a
    /// machine word cannot count them, the sides of 0 left aside: Candle multiplies the others too.
    fn extent(&self) -> Option<(usize, usize)> {
        self.shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side.max(1)))?;
        let count = self.shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side))?;
        if count == 0 {
            return Some((0, 0));
        }
        let reach = |end: usize, (&side, &stride): (&usize, &usize)| {
            (side - 1).checked_mul(stride)?.checked_add(end)
        };
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, reach)?;
        Some((count, last.checked_add(1)?))
    }

    /// The elements' bytes in the order of the indices.
    fn gather(&self, storage: &[u8], count: usize) -> Vec<u8> {
        let width = self.dtype.size_in_bytes();
        let mut bytes = Vec::with_capacity(count * width);
        // Dimensions that lie behind each other without a gap are copied as one.
        let (mut run, mut outer) = (1, self.shape.len());
        while outer > 0 && (self.strides[outer - 1] == run || self.shape[outer - 1] == 1) {
            outer -= 1;
            run *= self.shape[outer];
        }
        let mut index = vec![0; outer];
        while bytes.len() < count * width {
            let at =
                self.offset + index.iter().zip(&self.strides).map(|(i, s)| i * s).sum::<usize>();
            bytes.extend_from_slice(&storage[at * width..(at + run) * width]);
            for d in (0..outer).rev() {
                index[d] += 1;
                if index[d] < self.shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        bytes
    }
}

/// Reads tensors, each storage once, and no more numbers than an honest file could mean.
pub struct Reader<'a> {
    heap: &'a Heap,
    container: &'a mut Container,
    storages: HashMap<String, Rc<Vec<u8>>>,
    made: HashMap<StorageView, Tensor>,
    /// Bytes of tensors that may still be made, and of storages that may still be read.
    budget: usize,
    unread: usize,
}

/// Bytes of tensors that any checkpoint may make, however small its file; a larger one may make
/// four times its size. Tensors that share a storage, or repeat one number, can be larger than the
/// file.
const LEAST_BUDGET: usize = 16 << 20;

impl<'a> Reader<'a> {
    /// A reader of a checkpoint whose file has this many bytes. The same part of a storage is made,
    /// and counted, once.
    pub fn new(heap: &'a Heap, container: &'a mut Container, file_bytes: usize) -> Self {
        let budget = file_bytes.saturating_mul(4).max(LEAST_BUDGET);
        Self {
            heap,
            container,
            storages: HashMap::new(),
            made: HashMap::new(),
            budget,
            unread: file_bytes,
        }
    }

    /// The tensor at `id`, contiguous, on the CPU, of the file's dtype (`bool` as `u8`).
    pub fn tensor(&mut self, id: Id) -> Result<Tensor, Reason> {
        let view = storage_view(self.heap, id)?;
        if let Some(tensor) = self.made.get(&view) {
            return Ok(tensor.clone());
        }
        let width = view.dtype.size_in_bytes();
        let too_large = || {
            format!(
                "expected a tensor that fits its storage, got shape {:?} with strides {:?}",
                view.shape, view.strides
            )
        };
        let (count, needed) = view.extent().ok_or_else(too_large)?;
        let storage = match self.storages.get(&view.storage) {
            Some(storage) => storage.clone(),
            None => {
                let storage = Rc::new(self.container.storage(&view.storage)?);
                // In a forged zip file, many names can stand for the same bytes.
                let left = self.unread.checked_sub(storage.len());
                self.unread = left.ok_or(
                    "expected storages that are not larger than the file together, got larger ones",
                )?;
                self.storages.insert(view.storage.clone(), storage.clone());
                storage
            }
        };
        if storage.len() / width < needed {
            return Err(format!(
                "expected a storage of {needed} elements, got {}",
                storage.len() / width
            ));
        }
        self.budget = count
            .checked_mul(width)
            .and_then(|n| self.budget.checked_sub(n))
            .ok_or_else(too_large)?;
        let bytes = view.gather(&storage, count);
        let tensor = Tensor::from_raw_buffer(&bytes, view.dtype, &view.shape, &Device::Cpu)
            .map_err(|e| e.to_string())?;
        self.made.insert(view, tensor.clone());
        Ok(tensor)
    }
}
