//! Tensors of a checkpoint: a storage, an offset, a shape and strides.

use std::collections::HashMap;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};

use super::container::{Container, MAX_KEY};
use super::element::dtype;
use super::value::{Heap, Id, Reason, Value, brief};

/// Most parameters and subclasses around a tensor; PyTorch wraps it in one of each. A forged file
/// could wrap it in thousands, and have thousands of names for it.
const MAX_WRAPPERS: usize = 8;
/// Most entries of a tensor's metadata; PyTorch has two. A million tensors could share it.
const MAX_BITS: usize = 16;
/// Most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 8;

/// Where a tensor's numbers lie; sizes in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorageView {
    storage: String,
    pub dtype: DType,
    offset: usize,
    pub shape: Vec<usize>,
    strides: Vec<usize>,
    /// Whether the numbers are the storage's with their signs turned: PyTorch's lazy minus.
    negated: bool,
}

/// The functions that a checkpoint names for tensors, as far as they are known here.
const PLAIN: &str = "torch._utils._rebuild_tensor";
const PLAIN_V2: &str = "torch._utils._rebuild_tensor_v2";
const PARAMETER: &str = "torch._utils._rebuild_parameter";
const PARAMETER_WITH_STATE: &str = "torch._utils._rebuild_parameter_with_state";
const OF_TYPE: &str = "torch._tensor._rebuild_from_type_v2";
/// The classes of [`OF_TYPE`] whose numbers are those of the tensor in it.
const TYPES: [&str; 3] =
    ["torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"];

/// What makes a tensor.
struct Call<'a> {
    /// [`PLAIN`] or [`PLAIN_V2`].
    function: &'a str,
    args: &'a [Id],
    /// What was done to it besides that could change its numbers.
    odd: Option<String>,
}

/// What makes a tensor, if the value is one: any of the functions that PyTorch's tensors and
/// parameters have been rebuilt by.
fn call(heap: &Heap, id: Id) -> Option<Call<'_>> {
    // What is called, with what, and whether the result is changed afterwards: `__setstate__` of a
    // tensor replaces its storage, and an item is an assignment.
    let object = |id: Id| match heap.get(id) {
        Value::Object { class, args, items, state } => {
            let changed =
                !items.is_empty() || state.is_some_and(|state| is_true(heap, state.get()));
            Some((heap.global(*class)?, heap.tuple(*args)?, changed))
        }
        _ => None,
    };
    let mut odd = None;
    let (mut function, mut args, mut changed) = object(id)?;
    // A parameter wraps a tensor, and a subclass wraps a function with its arguments.
    for _ in 0..=MAX_WRAPPERS {
        if changed {
            odd = Some("one that is changed after it is made".to_owned());
        }
        (function, args, changed) = match (function, args) {
            (PLAIN | PLAIN_V2, _) => return Some(Call { function, args, odd }),
            (PARAMETER, [data] | [data, _] | [data, _, _])
            | (PARAMETER_WITH_STATE, [data, _, _, _]) => object(*data)?,
            (OF_TYPE, [inner, class, args, ..]) => {
                if !heap.global(*class).is_some_and(|class| TYPES.contains(&class)) {
                    odd = Some(format!("one of another class: {}", heap.kind(*class)));
                }
                (heap.global(*inner)?, heap.tuple(*args)?, false)
            }
            _ => return None,
        };
    }
    None
}

/// Whether a value is true in Python, or something whose truth is not known here.
fn is_true(heap: &Heap, id: Id) -> bool {
    match heap.get(id) {
        Value::None | Value::Bool(false) | Value::Int(0) => false,
        Value::Tuple(items) | Value::List(items) => !items.is_empty(),
        Value::Dict(items) => !items.is_empty(),
        _ => true,
    }
}

/// Whether a value is a tensor that PyTorch keeps as a storage and strides, be it one that can be
/// read here or not.
pub fn is_tensor(heap: &Heap, id: Id) -> bool {
    call(heap, id).is_some()
}

/// Whether a value is a tensor of whole numbers with a scale, or a tuple of one and its bias, as
/// quantised layers keep them.
pub fn is_quantised(heap: &Heap, id: Id) -> bool {
    let one = |id: Id| match heap.get(id) {
        Value::Object { class, .. } => {
            heap.global(*class).is_some_and(|name| name.ends_with("._rebuild_qtensor"))
        }
        _ => false,
    };
    one(id) || heap.tuple(id).and_then(|items| items.first()).is_some_and(|first| one(*first))
}

/// Where the numbers of the tensor at `id` lie.
pub fn storage_view(heap: &Heap, id: Id) -> Result<StorageView, Reason> {
    let unusual = || {
        "expected the storage, offset, shape and strides of a tensor, got other values".to_owned()
    };
    let Call { function, args, odd } = call(heap, id).ok_or_else(unusual)?;
    if let Some(odd) = odd {
        return Err(format!("expected a tensor as it is, got {odd}"));
    }
    // Behind the four stand whether it wants gradients, its hooks, and its metadata.
    let (&[storage, offset, shape, strides], more) =
        args.split_first_chunk::<4>().ok_or_else(unusual)?;
    let known = if function == PLAIN { 0 } else { 3 };
    if more.len() > known {
        let n = args.len();
        return Err(format!("expected at most {} arguments of {function}, got {n}", 4 + known));
    }
    let negated = more.get(2).map_or(Ok(false), |&metadata| is_negated(heap, metadata))?;
    let Value::Persistent(storage) = heap.get(storage) else { return Err(unusual()) };
    let [_, class, key, _, _, ref view @ ..] = *heap.tuple(*storage).ok_or_else(unusual)? else {
        return Err(unusual());
    };
    let class = heap.global(class).ok_or_else(unusual)?;
    let key = heap.text(key).filter(|key| key.len() <= MAX_KEY).ok_or_else(unusual)?;
    let mut offset = heap.size(offset).ok_or_else(unusual)?;
    // Before PyTorch 1.6 a storage could itself be a part of another: (key, offset, size).
    match *view {
        [] => {}
        [view] if !is_true(heap, view) => {}
        [view] => {
            let Some(&[_, start, _]) = heap.tuple(view) else { return Err(unusual()) };
            let start = heap.size(start).ok_or_else(unusual)?;
            offset = start.checked_add(offset).ok_or_else(unusual)?;
        }
        _ => return Err(unusual()),
    }
    let (shape, strides) =
        (sizes(heap, shape).ok_or_else(unusual)?, sizes(heap, strides).ok_or_else(unusual)?);
    let positive = |sizes: &[i128]| -> Option<Vec<usize>> {
        sizes.iter().map(|&n| usize::try_from(n).ok()).collect()
    };
    let (Some(shape), Some(strides)) = (positive(&shape), positive(&strides)) else {
        return Err(format!(
            "expected sides and strides that are not negative, got shape {shape:?} with strides {strides:?}"
        ));
    };
    if shape.len() != strides.len() {
        return Err(format!(
            "expected a stride for each of {} dimensions, got {}",
            shape.len(),
            strides.len()
        ));
    }
    let dtype = dtype(class)?;
    if negated && !dtype.is_float() {
        return Err(format!("expected floats behind a lazy minus, got {}", dtype.as_str()));
    }
    Ok(StorageView { storage: key.to_owned(), dtype, offset, shape, strides, negated })
}

/// Whether a tensor's metadata turns its signs. It is a dictionary of bits that say how the numbers
/// of the storage are to be taken: what is set and not known here must not be passed over.
fn is_negated(heap: &Heap, metadata: Id) -> Result<bool, Reason> {
    let bits = match heap.get(metadata) {
        Value::Dict(bits) if bits.len() <= MAX_BITS => bits,
        _ if !is_true(heap, metadata) => return Ok(false),
        _ => return Err(format!("expected a tensor's metadata, got {}", heap.kind(metadata))),
    };
    let mut negated = false;
    for (name, value) in bits {
        match (heap.text(*name), is_true(heap, *value)) {
            (Some("neg"), set) => negated = set,
            (_, false) => {}
            (name, true) => {
                return Err(format!(
                    "expected a tensor whose storage holds its numbers, got one with '{}' set",
                    brief(name.unwrap_or("?"))
                ));
            }
        }
    }
    Ok(negated)
}

/// The sizes of a shape: a tuple, or a `torch.Size` of one.
fn sizes(heap: &Heap, id: Id) -> Option<Vec<i128>> {
    let items = match heap.get(id) {
        Value::Object { class, args, .. } if heap.global(*class) == Some("torch.Size") => {
            heap.tuple(*heap.tuple(*args)?.first()?)?
        }
        _ => heap.tuple(id)?,
    };
    let number = |id: &Id| match heap.get(*id) {
        Value::Int(n) => Some(*n),
        _ => None,
    };
    (items.len() <= MAX_DIMENSIONS).then(|| items.iter().map(number).collect())?
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
        let mut tensor = Tensor::from_raw_buffer(&bytes, view.dtype, &view.shape, &Device::Cpu)
            .map_err(|e| e.to_string())?;
        if view.negated {
            tensor = tensor.neg().map_err(|e| e.to_string())?;
        }
        self.made.insert(view, tensor.clone());
        Ok(tensor)
    }
}
