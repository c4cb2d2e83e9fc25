//! The files of the python archives, which torchvision unpacks: pickles of a dictionary with a
//! NumPy array and lists of labels.
//!
//! Read by the interpreter of PyTorch checkpoints, which runs nothing: an array is the description
//! of a call, and the bytes beside it.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::binary::MAX_RECORDS;
use super::set::{Kind, PIXELS};
use crate::data::{DataError, LabelledImages};
use crate::file_kind::FileKind;
use crate::torch_checkpoint::pickle;
use crate::torch_checkpoint::value::{Heap, Id, Value, brief};

/// The largest file accepted; the largest real one has 155 MB.
const MAX_BYTES: usize = 180_000_000;
/// By how much the buffer grows: doubling it would ask for far more than the largest file.
const GROWTH: usize = 16 << 20;

/// What is wrong with a pickle.
type Reason = String;

/// Reads the images of one file; `path` is for messages, `fault` says what a failing read means.
///
/// # Errors
/// What `fault` makes of a failed read; [`DataError::Kind`] where the file is no pickle;
/// [`DataError::Pickle`] where it ends early, or holds something other than a `uint8` array of
/// `[n, 3072]` and labels for it, as lists or arrays of whole numbers;
/// [`DataError::Label`] for a label outside of the classes.
pub fn read(
    kind: Kind,
    reader: &mut dyn Read,
    path: &Path,
    fault: &dyn Fn(std::io::Error) -> DataError,
) -> Result<LabelledImages, DataError> {
    let expected = || format!("{} images", kind.title());
    let wrong = |reason: Reason| DataError::Pickle {
        path: path.to_path_buf(),
        expected: expected(),
        reason,
    };
    let mut bytes = read_all(reader)
        .map_err(fault)?
        .ok_or_else(|| wrong(format!("more than {MAX_BYTES} bytes")))?;
    let found = FileKind::of(&bytes[..bytes.len().min(512)]);
    if found != FileKind::Pickle {
        return Err(DataError::Kind {
            path: path.to_path_buf(),
            expected: format!("a pickle of {} (protocol 2 to 5)", expected()),
            got: found,
        });
    }
    let (heap, _) = pickle::read(&bytes).map_err(wrong)?;
    let data = entry(&heap, &bytes, "data")
        .ok_or_else(|| wrong(format!("{} without an entry data", heap.kind(heap.root))))?;
    let pixels = pixels(&heap, data).map_err(wrong)?;
    let n = pixels.shape[0];
    let labels = |key: &str, classes: usize| -> Result<Vec<u8>, DataError> {
        let list = entry(&heap, &bytes, key)
            .and_then(|id| integers(&heap, &bytes, id))
            .ok_or_else(|| wrong(format!("no list or array of numbers {key}")))?;
        if list.len() != n {
            return Err(wrong(format!("{} {key} for {n} images", list.len())));
        }
        let label = |(row, &label): (usize, &i128)| match usize::try_from(label) {
            Ok(label) if label < classes => Ok(label as u8),
            // Saturated: the message has no use for more digits.
            _ => Err(DataError::Label {
                path: path.to_path_buf(),
                row,
                max: (classes - 1) as u8,
                got: i64::try_from(label).unwrap_or(if label < 0 { i64::MIN } else { i64::MAX }),
            }),
        };
        list.iter().enumerate().map(label).collect()
    };
    let mut set = kind.empty();
    match &mut set.coarse {
        Some(groups) => {
            groups.labels = labels("coarse_labels", groups.classes)?;
            set.labels = labels("fine_labels", kind.classes())?;
        }
        None => set.labels = labels("labels", kind.classes())?,
    }
    let Array { content, by_columns, .. } = pixels;
    set.images = match content {
        Content::At(range) => {
            // The pixels are nearly all of the file: cut out in place, they need no second buffer
            // of that size.
            bytes.truncate(range.end);
            bytes.drain(..range.start);
            bytes
        }
        other => other.bytes(&heap, &bytes).into_owned(),
    };
    if by_columns {
        set.images = by_rows(&set.images, n);
    }
    Ok(set)
}

/// The rows of an array of `n` rows whose columns lie one behind the other.
fn by_rows(columns: &[u8], n: usize) -> Vec<u8> {
    let mut rows = vec![0; columns.len()];
    for (i, column) in columns.chunks_exact(n).enumerate() {
        for (row, value) in column.iter().enumerate() {
            rows[row * PIXELS + i] = *value;
        }
    }
    rows
}

/// The value under a key, which is a string, or, as Python 2 and `encoding="bytes"` have it, bytes.
fn entry(heap: &Heap, bytes: &[u8], key: &str) -> Option<Id> {
    let is_key = |id: Id| match heap.get(id) {
        Value::Text(text) => text == key,
        Value::Bytes(range) => bytes.get(range.clone()) == Some(key.as_bytes()),
        _ => false,
    };
    heap.entries(heap.root)?.iter().rev().find(|(k, _)| is_key(*k)).map(|(_, value)| *value)
}

/// All that is left to read; `None` if that is more than [`MAX_BYTES`].
fn read_all(reader: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let n = match reader.read(&mut chunk) {
            Ok(0) => return Ok(Some(bytes)),
            Ok(n) if bytes.len() + n > MAX_BYTES => return Ok(None),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if bytes.capacity() - bytes.len() < n {
            bytes.reserve_exact(GROWTH);
        }
        bytes.extend_from_slice(&chunk[..n]);
    }
}

/// A NumPy array in a pickle.
struct Array {
    shape: Vec<usize>,
    /// Its type, such as `u1` or `i8`, and whether its numbers are big-endian.
    dtype: (String, bool),
    /// Whether its columns lie one behind the other, not its rows.
    by_columns: bool,
    content: Content,
}

/// Where the bytes of an array are.
enum Content {
    /// In the pickle.
    At(Range<usize>),
    /// In a string, which the bytes of a dark picture may pass for.
    Text(Id),
    /// In a string of a character for each byte: protocol 2 has no bytes.
    Latin1(Id),
}

impl Content {
    fn of(heap: &Heap, id: Id) -> Option<Self> {
        match heap.get(id) {
            Value::Bytes(range) => Some(Self::At(range.clone())),
            Value::Text(_) => Some(Self::Text(id)),
            Value::Object { class, args, .. } => match (heap.global(*class)?, heap.tuple(*args)?) {
                ("_codecs.encode", &[text, encoding])
                    if matches!(heap.text(encoding), Some("latin1" | "latin-1")) =>
                {
                    Some(Self::Latin1(text))
                }
                // A bytearray of some bytes.
                ("builtins.bytearray", &[bytes]) => Self::of(heap, bytes),
                _ => None,
            },
            _ => None,
        }
    }

    fn bytes<'a>(&self, heap: &'a Heap, pickle: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::At(range) => pickle.get(range.clone()).unwrap_or_default().into(),
            Self::Text(id) => heap.text(*id).unwrap_or_default().as_bytes().into(),
            Self::Latin1(id) => {
                heap.text(*id).unwrap_or_default().chars().map(|c| c as u32 as u8).collect()
            }
        }
    }

    /// Whether there are `n` bytes. Looks at no more than it has to: many numbers may share a
    /// long string.
    fn is(&self, heap: &Heap, n: usize) -> bool {
        match self {
            Self::At(range) => range.len() == n,
            Self::Text(id) => heap.text(*id).is_some_and(|text| text.len() == n),
            Self::Latin1(id) => heap.text(*id).is_some_and(|text| {
                text.len() <= n.saturating_mul(2)
                    && text.chars().count() == n
                    && text.chars().all(|c| u32::from(c) < 256)
            }),
        }
    }
}

/// The array at `id`, of either form that NumPy writes: `_reconstruct` with a state, or, in protocol
/// 5, `_frombuffer`.
fn array(heap: &Heap, id: Id) -> Option<Array> {
    let Value::Object { class, args, state, .. } = heap.get(id) else { return None };
    let name = heap.global(*class)?;
    let (shape, dtype, by_columns, content) = if name.ends_with(".multiarray._reconstruct") {
        let &[_, shape, dtype, by_columns, content] = heap.tuple(state.as_ref()?.get())? else {
            return None;
        };
        (shape, dtype, matches!(heap.get(by_columns), Value::Bool(true)), content)
    } else if name.ends_with(".numeric._frombuffer") {
        let &[content, dtype, shape, order] = heap.tuple(*args)? else { return None };
        (shape, dtype, heap.text(order) == Some("F"), content)
    } else {
        return None;
    };
    Some(Array {
        shape: heap.tuple(shape)?.iter().map(|&n| heap.size(n)).collect::<Option<_>>()?,
        dtype: dtype_of(heap, dtype)?,
        by_columns,
        content: Content::of(heap, content)?,
    })
}

/// The name of a `numpy.dtype` without its byte order, and whether that is big-endian.
fn dtype_of(heap: &Heap, id: Id) -> Option<(String, bool)> {
    let Value::Object { class, args, state, .. } = heap.get(id) else { return None };
    let name = match heap.global(*class)? {
        "numpy.dtype" => heap.text(*heap.tuple(*args)?.first()?)?,
        _ => return None,
    };
    let order = state.and_then(|state| heap.text(*heap.tuple(state.get())?.get(1)?));
    let bare = name.trim_start_matches(['|', '<', '>', '=']);
    Some((bare.to_owned(), order == Some(">") || name.starts_with('>')))
}

/// The array of pixels.
fn pixels(heap: &Heap, id: Id) -> Result<Array, Reason> {
    let array = array(heap, id)
        .ok_or_else(|| format!("{} under data, of another form than an array's", heap.kind(id)))?;
    let n = match array.shape[..] {
        [n, PIXELS] if (1..=MAX_RECORDS).contains(&n) => n,
        _ => {
            return Err(format!(
                "an array of shape {:?}, not [n, {PIXELS}] with n of 1 to {MAX_RECORDS}",
                array.shape
            ));
        }
    };
    if array.dtype.0 != "u1" {
        return Err(format!("an array of type {}, not uint8", brief(&array.dtype.0)));
    }
    if !array.content.is(heap, n * PIXELS) {
        return Err(format!("more or fewer bytes than an array of [{n}, {PIXELS}] has"));
    }
    Ok(array)
}

/// The whole numbers of a list, of Python's or of NumPy's, or of an array of one dimension.
fn integers(heap: &Heap, pickle: &[u8], id: Id) -> Option<Vec<i128>> {
    if let Some(list) = heap.list(id) {
        let one = |&id: &Id| match heap.get(id) {
            Value::Int(n) => Some(*n),
            Value::Object { class, args, .. } => {
                let &[dtype, content] = heap.tuple(*args)? else { return None };
                let is_scalar = heap.global(*class)?.ends_with(".multiarray.scalar");
                let content = Content::of(heap, content).filter(|_| is_scalar)?;
                match decoded(&dtype_of(heap, dtype)?, &content, heap, pickle, 1)?[..] {
                    [n] => Some(n),
                    _ => None,
                }
            }
            _ => None,
        };
        return list.iter().map(one).collect();
    }
    let array = array(heap, id)?;
    let [n] = array.shape[..] else { return None };
    decoded(&array.dtype, &array.content, heap, pickle, n)
}

/// The `n` numbers of a type of whole numbers.
fn decoded(
    (dtype, big): &(String, bool),
    content: &Content,
    heap: &Heap,
    pickle: &[u8],
    n: usize,
) -> Option<Vec<i128>> {
    let (signed, width) = match dtype.as_str() {
        "u1" => (false, 1),
        "u2" => (false, 2),
        "u4" => (false, 4),
        "u8" => (false, 8),
        "i1" => (true, 1),
        "i2" => (true, 2),
        "i4" => (true, 4),
        "i8" => (true, 8),
        _ => return None,
    };
    if !content.is(heap, n.checked_mul(width)?) {
        return None;
    }
    let number = |bytes: &[u8]| {
        let fold = |sum: u64, b: &u8| sum << 8 | u64::from(*b);
        let n = if *big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) };
        let shift = 64 - 8 * width;
        if signed { i128::from((n << shift) as i64 >> shift) } else { i128::from(n) }
    };
    Some(content.bytes(heap, pickle).chunks_exact(width).map(number).collect())
}
