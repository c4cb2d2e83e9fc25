//! The files of the python archives, which torchvision unpacks: pickles of a dictionary with a
//! NumPy array and lists of labels.
//!
//! Read by the interpreter of PyTorch checkpoints, which runs nothing: an array is the description
//! of a call, and the bytes beside it.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::binary::MAX_RECORDS;
use super::set::{Kind, PIXELS};
use crate::data::{DataError, LabelledImages};
use crate::torch_checkpoint::pickle;
use crate::torch_checkpoint::value::{Heap, Id, Value};

/// The largest file accepted; the largest real one has 155 MB.
const MAX_BYTES: usize = 180_000_000;
/// By how much the buffer grows: doubling it would ask for far more than the largest file.
const GROWTH: usize = 16 << 20;

/// What is wrong with a pickle.
type Reason = String;

/// Reads the images of one file; `path` is for messages, `fault` says what a failing read means.
///
/// # Errors
/// What `fault` makes of a failed read; [`DataError::Pickle`] where the file is no pickle, ends
/// early, or holds something other than a `uint8` array of `[n, 3072]` and labels for it;
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
    let (heap, _) = pickle::read(&bytes).map_err(wrong)?;
    let (n, pixels) = array(&heap).map_err(wrong)?;
    let labels = |key: &str, classes: usize| -> Result<Vec<u8>, DataError> {
        let list = heap
            .entry(heap.root, key)
            .and_then(|id| heap.list(id))
            .ok_or_else(|| wrong(format!("no list {key}")))?;
        if list.len() != n {
            return Err(wrong(format!("{} {key} for {n} images", list.len())));
        }
        let label = |(row, &id): (usize, &Id)| match heap.get(id) {
            Value::Int(label) if (0..classes as i128).contains(label) => Ok(*label as u8),
            // Saturated: the message has no use for more digits.
            Value::Int(label) => {
                let got = i64::try_from(*label).unwrap_or(i64::MAX);
                Err(DataError::Label {
                    path: path.to_path_buf(),
                    row,
                    max: (classes - 1) as u8,
                    got,
                })
            }
            _ => Err(wrong(format!("{} in row {row} of {key}", heap.kind(id)))),
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
    match pixels {
        Pixels::At(range) => {
            // The pixels are nearly all of the file: cut out in place, they need no second buffer
            // of that size.
            bytes.truncate(range.end);
            bytes.drain(..range.start);
            set.images = bytes;
        }
        Pixels::Text(id) => {
            set.images = heap.text(id).map(|text| text.as_bytes().to_vec()).unwrap_or_default()
        }
    }
    Ok(set)
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

/// Where the bytes of the array are: in the pickle, or in a string, which the bytes of a dark
/// picture may pass for.
enum Pixels {
    At(Range<usize>),
    Text(Id),
}

/// The number of rows of the array under `data`, and its bytes.
fn array(heap: &Heap) -> Result<(usize, Pixels), Reason> {
    let root = heap.root;
    let id = heap
        .entry(root, "data")
        .ok_or_else(|| format!("{} without an entry data", heap.kind(root)))?;
    let other = || format!("{} under data, not a NumPy array", heap.kind(id));
    let Value::Object { class, state: Some(state), .. } = heap.get(id) else { return Err(other()) };
    if !heap.global(*class).is_some_and(|name| name.ends_with(".multiarray._reconstruct")) {
        return Err(other());
    }
    let Some(&[_, shape, dtype, fortran, content]) = heap.tuple(state.get()) else {
        return Err(other());
    };
    let shape: Vec<usize> =
        heap.tuple(shape).unwrap_or_default().iter().filter_map(|&n| heap.size(n)).collect();
    let n = match shape[..] {
        [n, PIXELS] if (1..=MAX_RECORDS).contains(&n) => n,
        _ => {
            return Err(format!(
                "an array of shape {shape:?}, not [n, {PIXELS}] with n of 1 to {MAX_RECORDS}"
            ));
        }
    };
    let element = match heap.get(dtype) {
        Value::Object { class, args, .. } if heap.global(*class) == Some("numpy.dtype") => {
            heap.tuple(*args).unwrap_or_default()
        }
        _ => &[],
    };
    if !element.first().is_some_and(|&name| matches!(heap.text(name), Some("u1" | "|u1"))) {
        return Err("an array of numbers other than uint8".to_string());
    }
    if !matches!(heap.get(fortran), Value::Bool(false)) {
        return Err("an array in column order".to_string());
    }
    let (len, pixels) = match heap.get(content) {
        Value::Bytes(range) => (range.len(), Pixels::At(range.clone())),
        Value::Text(text) => (text.len(), Pixels::Text(content)),
        _ => return Err(other()),
    };
    if len == n * PIXELS {
        Ok((n, pixels))
    } else {
        Err(format!("{len} bytes for an array of [{n}, {PIXELS}]"))
    }
}
