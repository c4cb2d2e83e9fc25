//! The two layouts of a PyTorch checkpoint: a pickle, and the numbers of the storages that it
//! names.
//!
//! * zip, since PyTorch 1.6: `NAME/data.pkl`, and a file `NAME/data/KEY` for each storage.
//! * older: five pickles in a row (a magic number, the protocol 1001, a description of the machine,
//!   the object, the list of keys), and then each storage in the order of that list: an element
//!   count of 8 bytes and the elements.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use zip::ZipArchive;

use super::element::element_bytes;
use super::pickle;
use super::source::Source;
use super::value::{Heap, Reason, Value, brief};
use crate::file_kind::FileKind;

/// What a checkpoint of the older layout begins with.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;

/// The most bytes that the pickles of a checkpoint may take: a hundred times those of the largest
/// real ones.
const MAX_PICKLE: u64 = 64 << 20;
/// The longest name of a storage; PyTorch numbers them.
pub const MAX_KEY: usize = 256;

/// The numbers of a checkpoint, to be read storage by storage.
pub enum Container {
    Zip { archive: ZipArchive<Source>, folder: String },
    Old { source: Source, storages: HashMap<String, Range<u64>> },
}

/// Opens a checkpoint of either layout; gives its values and its storages. Only the pickles are
/// read.
pub fn open(kind: FileKind, source: Source) -> Result<(Heap, Container), Reason> {
    match kind {
        FileKind::Zip => open_zip(source),
        FileKind::Pickle => open_old(source),
        other => Err(format!(
            "expected a PyTorch checkpoint (zip, or the pickles of PyTorch before 1.6), got {other}"
        )),
    }
}

fn open_zip(source: Source) -> Result<(Heap, Container), Reason> {
    let whole = |e: zip::result::ZipError| format!("expected a whole zip file, got: {e}");
    let mut archive = ZipArchive::new(source).map_err(whole)?;
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
        match &*file(&mut archive, &order, MAX_PICKLE)? {
            b"little" => {}
            other => {
                return Err(format!(
                    "expected little-endian numbers, got {:?}",
                    String::from_utf8_lossy(other)
                ));
            }
        }
    }
    let (heap, _) = pickle::read(&file(&mut archive, name, MAX_PICKLE)?)?;
    Ok((heap, Container::Zip { archive, folder }))
}

/// One file of the archive. PyTorch stores its files as they are, so none can be larger than the
/// archive, and nothing has to be unfolded.
fn file(archive: &mut ZipArchive<Source>, name: &str, most: u64) -> Result<Vec<u8>, Reason> {
    let fault = |e: &dyn std::fmt::Display| format!("{name} in the zip file: {e}");
    let mut entry = archive.by_name(name).map_err(|e| fault(&e))?;
    if entry.compression() != zip::CompressionMethod::Stored {
        return Err(fault(&format_args!(
            "expected it stored, as torch.save writes it, got it compressed"
        )));
    }
    if entry.size() > most {
        let size = entry.size();
        return Err(fault(&format_args!("expected at most {most} bytes, got {size}")));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|e| fault(&e))?;
    Ok(bytes)
}

fn open_old(mut source: Source) -> Result<(Heap, Container), Reason> {
    let io = |e: std::io::Error| e.to_string();
    let mut bytes = Vec::new();
    source.by_ref().take(MAX_PICKLE).read_to_end(&mut bytes).map_err(io)?;
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
    let (length, mut at) = (source.len(), at as u64);
    for &key in order {
        let Some(key) = keys.text(key) else {
            return Err(format!("expected the key of a storage, got {}", keys.kind(key)));
        };
        let width = widths.get(key).filter(|_| key.len() <= MAX_KEY).ok_or_else(|| {
            format!("storage {}: expected a tensor that uses it, got none", brief(key))
        })?;
        if storages.contains_key(key) {
            return Err(format!("storage {key}: expected it once, got it twice"));
        }
        let mut head = [0; 8];
        source
            .seek(SeekFrom::Start(at))
            .and_then(|_| source.read_exact(&mut head))
            .map_err(|_| {
                format!(
                    "storage {key}: expected its element count at byte {at}, got the end of the file"
                )
            })?;
        let (count, start) = (u64::from_le_bytes(head), at + 8);
        let end = count.checked_mul(*width as u64).and_then(|n| n.checked_add(start));
        let end = end.filter(|end| *end <= length).ok_or_else(|| {
            format!("storage {key}: expected {count} elements of {width} bytes, got {} bytes to the end of the file", length.saturating_sub(start))
        })?;
        storages.insert(key.to_owned(), start..end);
        at = end;
    }
    Ok((heap, Container::Old { source, storages }))
}

/// The bytes of an element, of each storage that the values name: the storages themselves only
/// count their elements.
fn widths(heap: &Heap) -> HashMap<&str, usize> {
    let named = heap.values.iter().filter_map(|value| match value {
        Value::Persistent(id) => match *heap.tuple(*id)? {
            // A long text could be the key of each of a million storages.
            [_, class, key, ..] if heap.text(key)?.len() <= MAX_KEY => {
                Some((heap.text(key)?, element_bytes(heap.global(class)?)?))
            }
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
            Self::Zip { archive, folder } => {
                file(archive, &format!("{folder}data/{key}"), u64::MAX)
            }
            Self::Old { source, storages } => {
                let range = storages
                    .get(key)
                    .cloned()
                    .ok_or_else(|| format!("expected a storage {key}, got none"))?;
                let fault = |e: std::io::Error| format!("storage {key}: {e}");
                source.seek(SeekFrom::Start(range.start)).map_err(fault)?;
                let mut bytes = Vec::new();
                let length = range.end - range.start;
                source.by_ref().take(length).read_to_end(&mut bytes).map_err(fault)?;
                Ok(bytes)
            }
        }
    }
}
