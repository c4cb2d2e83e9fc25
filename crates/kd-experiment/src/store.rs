//! The run store: `runs/<paper>/<cell>/`, one folder for each cell.
//!
//! A cell's folder holds `lock`, `spec.toml` (written first), whatever the cell writes while it
//! runs, and `result.json` (written last). Three rules make it safe to kill a process at any
//! moment, to run several on one store, and to merge stores by copying folders: a cell with a
//! result is finished and never run again; only the holder of the lock writes in the folder; the
//! operating system releases the lock when its holder dies.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::Table;

use super::cell::{Cell, canonical_table};
use super::error::{Error, Result};
use super::finished::Finished;
use super::result::CellResult;
use kd_base::atomic;
use kd_base::file_hash::sha256;
use kd_base::message::one_line;

const LOCK: &str = "lock";
const SPEC: &str = "spec.toml";
const RESULT: &str = "result.json";

/// The runs of one paper.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// How far a cell has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellState {
    /// It has a result.
    Done,
    /// A living process holds it.
    Running,
    /// It was begun and not finished; it continues from what it left.
    Partial,
    /// Nobody has begun it.
    Pending,
}

impl CellState {
    /// The word in listings.
    pub fn name(self) -> &'static str {
        match self {
            CellState::Done => "done",
            CellState::Running => "running",
            CellState::Partial => "partial",
            CellState::Pending => "pending",
        }
    }
}

/// What came of the attempt to enter a cell.
#[derive(Debug)]
pub enum Entry {
    /// It has a result already.
    Done(CellResult),
    /// Another process runs it.
    Busy,
    /// It is ours until the value is dropped.
    Entered(CellDir),
}

impl Store {
    /// The store of `paper` under `runs_dir`. Nothing is created before a cell is entered.
    pub fn new(runs_dir: &Path, paper: &str) -> Self {
        Self { root: runs_dir.join(paper) }
    }

    /// A cell's folder, whether it exists or not.
    pub fn dir(&self, cell: &Cell) -> PathBuf {
        self.root.join(cell.id.as_str())
    }

    /// The result of a finished cell; none where it is not finished.
    ///
    /// Errors: a `result.json` or `spec.toml` that cannot be read or understood, or a `spec.toml`
    /// of another cell.
    pub fn result(&self, cell: &Cell) -> Result<Option<CellResult>> {
        let dir = self.dir(cell);
        let path = dir.join(RESULT);
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        let corrupt =
            |problem: String| Error::Corrupt { file: path.clone(), dir: dir.clone(), problem };
        let result: CellResult = serde_json::from_str(&text).map_err(|error| {
            corrupt(format!("not a result, truncated perhaps ({})", one_line(&error)))
        })?;
        if let Some(problem) = result.problem() {
            return Err(corrupt(problem));
        }
        check_spec(&dir, cell)?;
        Ok(Some(result))
    }

    /// A finished cell with its result, once the files in its folder are those that its result
    /// names; none where it is not finished.
    ///
    /// Errors: as [`Store::result`], and a file that is missing or has another content than when
    /// the cell was finished.
    pub fn finished(&self, cell: &Cell) -> Result<Option<Finished>> {
        let Some(result) = self.result(cell)? else { return Ok(None) };
        let dir = self.dir(cell);
        for (name, expected) in &result.files {
            let file = dir.join(name);
            let problem = match sha256(&file) {
                Ok(got) if got == *expected => continue,
                Ok(got) => {
                    format!("expected the file of this cell, of SHA-256 {expected}, got {got}")
                }
                Err(error) => {
                    format!("expected the file of this cell, got none ({})", error.source)
                }
            };
            return Err(Error::Corrupt { file, dir, problem });
        }
        Ok(Some(Finished { cell: cell.clone(), dir, result }))
    }

    /// How far a cell has come. The lock is only probed, and shared between those who probe.
    pub fn state(&self, cell: &Cell) -> Result<CellState> {
        if self.result(cell)?.is_some() {
            return Ok(CellState::Done);
        }
        let path = self.dir(cell).join(LOCK);
        match File::open(&path) {
            Ok(lock) => match lock.try_lock_shared() {
                Ok(()) => Ok(CellState::Partial),
                Err(TryLockError::WouldBlock) => Ok(CellState::Running),
                Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
            },
            // A folder without a lock was copied from another store without it.
            Err(error) if error.kind() == ErrorKind::NotFound && self.dir(cell).is_dir() => {
                Ok(CellState::Partial)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(CellState::Pending),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Takes the cell for this process: creates its folder, locks it, removes the temporary files
    /// of dead writers, and writes `spec.toml` or checks the one that is there.
    pub fn enter(&self, cell: &Cell) -> Result<Entry> {
        if let Some(result) = self.result(cell)? {
            return Ok(Entry::Done(result));
        }
        let dir = self.dir(cell);
        atomic::create_dir(&dir)?;
        let path = dir.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Entry::Busy),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        // Another process may have finished it between our first look and our lock.
        if let Some(result) = self.result(cell)? {
            return Ok(Entry::Done(result));
        }
        atomic::sweep(&dir)?;
        if dir.join(SPEC).exists() {
            check_spec(&dir, cell)?;
        } else {
            let path = dir.join(SPEC);
            let text = toml::to_string(&cell.identity()).map_err(|error| {
                Error::file(
                    path.display().to_string(),
                    format!(
                        "the spec of {} cannot be written as TOML: {}",
                        cell.label(),
                        one_line(&error)
                    ),
                )
            })?;
            atomic::write(&path, text.as_bytes())?;
        }
        Ok(Entry::Entered(CellDir { path: dir, _lock: lock }))
    }
}

/// The folder of a cell that this process runs. Dropping it releases the lock.
#[derive(Debug)]
pub struct CellDir {
    path: PathBuf,
    _lock: File,
}

impl CellDir {
    /// The folder: the cell may write any file in it but `lock`, `spec.toml` and `result.json`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the folder atomically, see [`atomic::write`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(atomic::write(&self.path.join(name), bytes)?)
    }

    /// The text of a file of the folder; none where there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<String>> {
        read_if_there(&self.path.join(name))
    }

    /// The SHA-256 of each file that other cells may read: all but the store's own, temporary ones
    /// and tables for people (`.csv`).
    pub fn hashes(&self) -> Result<BTreeMap<String, String>> {
        let read = Error::io;
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.path).map_err(read("read", &self.path))? {
            let path = entry.map_err(read("read", &self.path))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let own = [LOCK, SPEC, RESULT].contains(&name);
            if own || name.starts_with('.') || name.ends_with(".csv") || !path.is_file() {
                continue;
            }
            found.insert(name.to_owned(), sha256(&path)?);
        }
        Ok(found)
    }

    /// Writes the result and gives the cell back: from here on it is finished.
    pub fn finish(self, result: &CellResult) -> Result<()> {
        let path = self.path.join(RESULT);
        let mut text = serde_json::to_string_pretty(result)
            .map_err(|error| Error::file(path.display().to_string(), one_line(&error)))?;
        text.push('\n');
        Ok(atomic::write(&path, text.as_bytes())?)
    }
}

/// Checks that `spec.toml` in `dir` is that of `cell`.
fn check_spec(dir: &Path, cell: &Cell) -> Result<()> {
    let path = dir.join(SPEC);
    let corrupt =
        |problem: String| Error::Corrupt { file: path.clone(), dir: dir.to_path_buf(), problem };
    let text = read_if_there(&path)?.ok_or_else(|| corrupt("missing".to_string()))?;
    let found: Table = text.parse().map_err(|error: toml::de::Error| {
        corrupt(format!("not TOML, truncated perhaps ({})", error.message()))
    })?;
    let expected = cell.identity();
    if canonical_table(&found) == canonical_table(&expected) {
        return Ok(());
    }
    let differs = expected.iter().find(|(key, value)| {
        found.get(*key).map(super::cell::canonical) != Some(super::cell::canonical(value))
    });
    let what = match differs {
        Some((key, value)) => {
            let got = found.get(key).map_or("nothing".to_string(), super::cell::canonical);
            format!(
                "not the spec of this cell: {key}: expected {}, got {got}",
                super::cell::canonical(value)
            )
        }
        None => "not the spec of this cell: it has a key too many".to_string(),
    };
    Err(corrupt(what))
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        // A damaged file need not be UTF-8; the parser will say what it thinks of the rest.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}
