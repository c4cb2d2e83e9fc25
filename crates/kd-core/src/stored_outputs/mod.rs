//! What a teacher says of training images, kept in files: runs that show the same images compute it
//! once.
//!
//! An image and its augmentation are told by a view and the image's number. Without a limit every
//! epoch is a view of its own, and runs of one seed, one order and one batch size see the same: a
//! student's weights are those that it has without a store. With [`Views`](crate::data::Views) the
//! number of views is small enough to keep all of them, and the images are seen again.
//!
//! A view is a folder `view-0007` with a file for the logits and one for each tap. Files are filled
//! as runs come by; several processes may share a store. One that comes while another computes the
//! same view waits and then reads.

mod records;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
use kd_base::atomic;
use serde::Serialize;

use self::records::Records;
use crate::model::Outputs;
use crate::seed::fnv1a;
use crate::{Error, Result};

/// The name of the logits among a view's files; a tap's file has the tap's name behind `tap-`.
const LOGITS: &str = "logits";

/// A teacher's outputs on the views of a training set.
#[derive(Debug)]
pub struct StoredOutputs {
    dir: PathBuf,
    examples: usize,
    views: Option<NonZeroUsize>,
    limit: u64,
    /// The files of the view that was asked for last.
    open: Mutex<(usize, BTreeMap<String, Arc<Records>>)>,
}

impl StoredOutputs {
    /// The store of what `about` says, in a folder of its own below `root`: the teacher and all that
    /// decides which images an epoch shows it. The folder is made, with `about` in it as JSON.
    ///
    /// `examples` is one more than the largest number of an image. `views` is how many views there
    /// are; none for as many as epochs. Files take at most about `limit` bytes: without a number of
    /// views the oldest are deleted for new ones.
    ///
    /// # Errors
    /// When the folder cannot be made; bad input when it is of something else.
    pub fn open(
        root: &Path,
        about: &impl Serialize,
        examples: usize,
        views: Option<NonZeroUsize>,
        limit: u64,
    ) -> Result<Self> {
        let text = serde_json::to_string_pretty(about)
            .map_err(|e| Error::bad_input(format!("stored teacher outputs: {e}")))?;
        let dir = root.join(format!("{:016x}", fnv1a(text.as_bytes())));
        atomic::create_dir(&dir)?;
        let path = dir.join("about.json");
        match fs::read_to_string(&path) {
            Ok(found) if found == text => {}
            Ok(_) => {
                return Err(Error::bad_input(format!(
                    "{}: expected the description of this run, got another; delete the folder to make it anew",
                    path.display()
                )));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => atomic::write(&path, text.as_bytes())?,
            Err(e) => return Err(Error::io(path, e)),
        }
        Ok(Self { dir, examples, views, limit, open: Mutex::default() })
    }

    /// The teacher's logits and these taps, detached, on the images of these numbers as `epoch`
    /// shows them: those that are stored, or what `forward` computes, which is stored then.
    ///
    /// # Errors
    /// Those of `forward`; when a file cannot be read or written; bad input when the outputs are no
    /// 32-bit floats, a file is of something else, or the limit is too small for the views.
    pub fn outputs(
        &self,
        epoch: usize,
        numbers: &[u32],
        taps: &[&str],
        device: &Device,
        forward: impl FnOnce() -> Result<Outputs>,
    ) -> Result<Outputs> {
        let view = self.views.map_or(epoch, |views| epoch % views);
        if let Some(stored) = self.read(view, numbers, taps, device)? {
            return Ok(stored);
        }
        let turn = self.turn(view)?;
        // Whoever had the turn before may have stored it.
        if let Some(stored) = self.read(view, numbers, taps, device)? {
            return Ok(stored);
        }
        let outputs = forward()?;
        self.write(view, LOGITS, numbers, &outputs.logits)?;
        for (tap, output) in taps.iter().zip(&outputs.taps) {
            self.write(view, &tap_file(tap), numbers, output)?;
        }
        drop(turn);
        Ok(outputs)
    }

    fn read(
        &self,
        view: usize,
        numbers: &[u32],
        taps: &[&str],
        device: &Device,
    ) -> Result<Option<Outputs>> {
        let Some(logits) = self.read_one(view, LOGITS, numbers, device)? else { return Ok(None) };
        let mut read = Vec::with_capacity(taps.len());
        for tap in taps {
            match self.read_one(view, &tap_file(tap), numbers, device)? {
                Some(tap) => read.push(tap),
                None => return Ok(None),
            }
        }
        Ok(Some(Outputs { logits, taps: read }))
    }

    fn read_one(
        &self,
        view: usize,
        name: &str,
        numbers: &[u32],
        device: &Device,
    ) -> Result<Option<Tensor>> {
        let known = self.known(view, name);
        let records = match known {
            Some(records) => records,
            None => match Records::open(&self.path(view, name), self.examples)? {
                Some(records) => self.keep(view, name, records),
                None => return Ok(None),
            },
        };
        let Some(values) = records.read(numbers)? else { return Ok(None) };
        let shape = [&[numbers.len()], records.dims()].concat();
        Ok(Some(Tensor::from_vec(values, shape, device)?))
    }

    fn write(&self, view: usize, name: &str, numbers: &[u32], output: &Tensor) -> Result<()> {
        if output.dtype() != DType::F32 || output.dims().first() != Some(&numbers.len()) {
            return Err(Error::bad_input(format!(
                "stored teacher outputs: expected 32-bit floats of {} images, got {:?} of shape {:?}",
                numbers.len(),
                output.dtype(),
                output.dims()
            )));
        }
        let dims = &output.dims()[1..];
        let records = match self.known(view, name) {
            Some(records) => records,
            None => {
                self.make_room(view, Records::size(self.examples, dims))?;
                let path = self.path(view, name);
                self.keep(view, name, Records::open_or_make(&path, self.examples, dims)?)
            }
        };
        let values = output.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        records.write(numbers, &values)
    }

    /// Sees to it that a file of so many bytes fits below the limit.
    fn make_room(&self, view: usize, bytes: u64) -> Result<()> {
        let mut views = self.stored()?;
        if let Some(count) = self.views {
            let own = views.iter().find(|(number, _)| *number == view).map_or(0, |(_, size)| *size);
            let needed = (own + bytes) * count.get() as u64;
            if needed > self.limit {
                return Err(Error::bad_input(format!(
                    "stored teacher outputs: {count} views of {} images take {} or more, the limit is {}; raise it, or take fewer views",
                    self.examples,
                    size(needed),
                    size(self.limit)
                )));
            }
            return Ok(());
        }
        let mut taken: u64 = views.iter().map(|(_, size)| size).sum();
        views.retain(|(number, _)| *number != view);
        for (number, size) in views {
            if taken + bytes <= self.limit {
                break;
            }
            let folder = self.folder(number);
            match fs::remove_dir_all(&folder) {
                Ok(()) => {}
                // Another process was first.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io(folder, e)),
            }
            taken = taken.saturating_sub(size);
        }
        Ok(())
    }

    /// The views that have files, the oldest first, with the bytes that these take when full.
    fn stored(&self) -> Result<Vec<(usize, u64)>> {
        let io = |e| Error::io(&self.dir, e);
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(io(e)),
        };
        let mut views = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("view-")?.parse().ok());
            let Some(number) = number else { continue };
            // Another process may delete it meanwhile.
            let Ok(files) = fs::read_dir(entry.path()) else { continue };
            let sizes = files.flatten().filter_map(|file| Some(file.metadata().ok()?.len()));
            views.push((number, sizes.sum()));
        }
        views.sort_unstable();
        Ok(views)
    }

    /// The turn to compute in a view, for as long as the file lives. Where the file system knows no
    /// locks, everybody has it.
    fn turn(&self, view: usize) -> Result<File> {
        let folder = self.folder(view);
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        let path = folder.join("turn");
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        let _ = file.lock();
        Ok(file)
    }

    fn known(&self, view: usize, name: &str) -> Option<Arc<Records>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        (open.0 == view).then(|| open.1.get(name).cloned()).flatten()
    }

    fn keep(&self, view: usize, name: &str, records: Records) -> Arc<Records> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.0 != view {
            *open = (view, BTreeMap::new());
        }
        let records = Arc::new(records);
        open.1.insert(name.to_owned(), records.clone());
        records
    }

    fn folder(&self, view: usize) -> PathBuf {
        self.dir.join(format!("view-{view:04}"))
    }

    fn path(&self, view: usize, name: &str) -> PathBuf {
        self.folder(view).join(name)
    }
}

/// The name of a tap's file.
fn tap_file(tap: &str) -> String {
    format!("tap-{}", tap.replace(['/', '\\'], "-"))
}

/// A number of bytes as people write it.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => (1 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    format!("{:.1} {name}", bytes as f64 / f64::from(unit))
}

#[cfg(test)]
mod tests;
