//! The two layouts of a PyTorch checkpoint: a pickle, and the numbers of the storages that it
//! names.
//!
//! * zip, since PyTorch 1.6: `NAME/data.pkl`, and a file `NAME/data/KEY` for each storage.
//! * older: five pickles in a row (a magic number, the protocol 1001, a description of the machine,
//!   the object, the list of keys), and then each storage in the order of that list: an element
//!   count of 8 bytes and the elements.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::ops::Range;

use zip::ZipArchive;

use super::element::element_bytes;
use super::pickle;
use super::value::{Heap, Reason, Value};

/// What a checkpoint of the older layout begins with.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;

/// The numbers of a checkpoint, to be read storage by storage.
pub enum Container {
    Zip { archive: ZipArchive<Cursor<Vec<u8>>>, folder: String },
    Old { bytes: Vec<u8>, storages: HashMap<String, Range<usize>> },
}

/// Opens a checkpoint of either layout; gives its values and its storages.
pub fn open(bytes: Vec<u8>) -> Result<(Heap, Container), Reason> {
    match bytes.get(..2) {
        Some(b"PK") => open_zip(bytes),
        Some([0x80, 2..=5]) => open_old(bytes),
        _ => Err("expected a PyTorch checkpoint (zip, or the pickles of PyTorch before 1.6), got another kind of file".into()),
    }
}

fn open_zip(bytes: Vec<u8>) -> Result<(Heap, Container), Reason> {
    let whole = |e: zip::result::ZipError| format!("expected a whole zip file, got: {e}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(whole)?;
    let pickles: Vec<String> = archive
        .file_names()
        .flatten()
        .filter(|n| *n == "data.pkl" || n.ends_with("/data.pkl"))
        .map(Into::into)
        .collect();
    let [name] = &pickles[..] else {
        return Err(format!(
            "expected a PyTorch checkpoint, got a zip file with {} files called data.pkl",
            pickles.len()
        ));
    };
    let folder = name.trim_end_matches("data.pkl").to_owned();
    let order = format!("{folder}byteorder");
    if archive.index_for_name(&order).is_some() {
        match &*file(&mut archive, &order)? {
            b"little" => {}
            other => {
                return Err(format!(
                    "expected little-endian numbers, got {:?}",
                    String::from_utf8_lossy(other)
                ));
            }
        }
    }
    let (heap, _) = pickle::read(&file(&mut archive, name)?)?;
    Ok((heap, Container::Zip { archive, folder }))
}

/// One file of the archive. PyTorch stores its files as they are, so none can be larger than the
/// archive, and nothing has to be unfolded.
fn file(archive: &mut ZipArchive<Cursor<Vec<u8>>>, name: &str) -> Result<Vec<u8>, Reason> {
    let fault = |e: &dyn std::fmt::Display| format!("{name} in the zip file: {e}");
    let mut entry = archive.by_name(name).map_err(|e| fault(&e))?;
    if entry.compression() != zip::CompressionMethod::Stored {
        return Err(fault(&format_args!(
            "expected it stored, as torch.save writes it, got it compressed"
        )));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|e| fault(&e))?;
    Ok(bytes)
}

fn open_old(bytes: Vec<u8>) -> Result<(Heap, Container), Reason> {
    let mut at = 0;
    let mut next = || -> Result<Heap, Reason> {
        let (heap, used) =
            pickle::read(&bytes[at..]).map_err(|e| format!("from byte {at}: {e}"))?;
        at += used;
        Ok(heap)
    };
    let mut constant = |what: &str, expected: i128| match next()? {
        heap if matches!(heap.get(heap.root), Value::Int(n) if *n == expected) => Ok(()),
        heap => {
            Err(format!("expected {what} of a PyTorch checkpoint, got {}", heap.kind(heap.root)))
        }
    };
    constant("the magic number", MAGIC)?;
    constant("protocol 1001", PROTOCOL)?;
    let system = next()?;
    if let Some(id) = system.entry(system.root, "little_endian")
        && !matches!(system.get(id), Value::Bool(true))
    {
        return Err("expected little-endian numbers, got big-endian ones".into());
    }
    let heap = next()?;
    let keys = next()?;
    let Value::List(order) = keys.get(keys.root) else {
        return Err(format!("expected the list of storages, got {}", keys.kind(keys.root)));
    };
    let widths = widths(&heap);
    let mut storages = HashMap::new();
    for &key in order {
        let Some(key) = keys.text(key) else {
            return Err(format!("expected the key of a storage, got {}", keys.kind(key)));
        };
        let width = widths
            .get(key)
            .ok_or_else(|| format!("storage {key}: expected a tensor that uses it, got none"))?;
        let head = bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        let head = head.ok_or_else(|| {
            format!(
                "storage {key}: expected its element count at byte {at}, got the end of the file"
            )
        })?;
        let start = at + 8;
        let end = usize::try_from(head)
            .ok()
            .and_then(|n| n.checked_mul(*width))
            .and_then(|n| n.checked_add(start));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(|| {
            format!("storage {key}: expected {head} elements of {width} bytes, got {} bytes to the end of the file", bytes.len() - start)
        })?;
        storages.insert(key.to_owned(), start..end);
        at = end;
    }
    Ok((heap, Container::Old { bytes, storages }))
}

/// The bytes of an element, of each storage that the values name: the storages themselves only
/// count their elements.
fn widths(heap: &Heap) -> HashMap<&str, usize> {
    let named = heap.values.iter().filter_map(|value| match value {
        Value::Persistent(id) => match *heap.tuple(*id)? {
            [_, class, key, ..] => Some((heap.text(key)?, element_bytes(heap.global(class)?)?)),
            _ => None,
        },
        _ => None,
    });
    named.collect()
}

impl Container {
    /// The bytes of the storage called `key`.
    pub fn storage(&mut self, key: &str) -> Result<Vec<u8>, Reason> {
        match self {
            Self::Zip { archive, folder } => file(archive, &format!("{folder}data/{key}")),
            Self::Old { bytes, storages } => {
                let range = storages
                    .get(key)
                    .cloned()
                    .ok_or_else(|| format!("expected a storage {key}, got none"))?;
                Ok(bytes[range].to_vec())
            }
        }
    }
}
