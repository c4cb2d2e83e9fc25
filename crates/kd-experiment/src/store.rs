//! The run store: `runs/<paper>/<cell>/`, one folder for each cell.
//!
//! A cell's folder holds its lock, `spec.toml` (written first), whatever the cell writes while it
//! runs, `failure.toml` where it failed, and `result.json` (written last). Three rules make it safe
//! to kill a process at any moment, to run several on one store, on one machine or on many, and to
//! merge stores by copying folders: a cell with a result is finished and never run again; only the
//! holder of the lock writes in the folder; the lock of a dead holder is taken over, see the module
//! `lock`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::Table;

use super::cell::{Cell, canonical_table};
use super::error::{Error, Result};
use super::failure::Failure;
use super::finished::Finished;
use super::holder::Holder;
use super::lock::{Lock, Locks, Standing, Taken};
use super::result::CellResult;
use kd_base::atomic;
use kd_base::file_hash::sha256;
use kd_base::message::one_line;

/// The lock of earlier versions, which lies about in their stores.
const OLD_LOCK: &str = "lock";
/// The file with a cell's spec.
pub(crate) const SPEC: &str = "spec.toml";
/// The file with a finished cell's result.
pub(crate) const RESULT: &str = "result.json";
const FAILURE: &str = "failure.toml";

/// The runs of one paper.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    locks: Locks,
}

/// How far a cell has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellState {
    /// It has a result.
    Done,
    /// A living process holds it, or one of another machine of which nobody here can say.
    Running,
    /// It was begun and not finished, because it was stopped, killed or failed; it continues from
    /// what it left.
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
    /// Another process runs it; none where it is one of an earlier version, which did not say who
    /// it is.
    Busy(Option<Holder>),
    /// It is ours until the value is dropped.
    Entered(CellDir),
}

impl Store {
    /// The store of `paper` under `runs_dir`. Nothing is created before a cell is entered.
    pub fn new(runs_dir: &Path, paper: &str) -> Self {
        Self { root: runs_dir.join(paper), locks: Locks::default() }
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

    /// How far a cell has come.
    ///
    /// # Errors
    /// As [`Store::result`], and a folder that cannot be read.
    pub fn state(&self, cell: &Cell) -> Result<CellState> {
        if self.result(cell)?.is_some() {
            return Ok(CellState::Done);
        }
        let dir = self.dir(cell);
        Ok(match self.locks.standing(&dir)? {
            Standing::Held(_) => CellState::Running,
            Standing::Free(_) if dir.is_dir() => CellState::Partial,
            Standing::Free(_) => CellState::Pending,
        })
    }

    /// The process that runs a cell, or that died as it did, and whether it lives; none where there
    /// is none, or it does not say who it is. A process of another machine is taken for living
    /// until this one has waited for a sign of it.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn holder(&self, cell: &Cell) -> Result<Option<(Holder, bool)>> {
        Ok(match self.locks.standing(&self.dir(cell))? {
            Standing::Held(holder) => holder.map(|holder| (holder, true)),
            Standing::Free(dead) => dead.map(|(holder, _)| (holder, false)),
        })
    }

    /// Why the last attempt at a cell failed; none where it did not, or nobody knows. A new attempt
    /// forgets it.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn failure(&self, cell: &Cell) -> Result<Option<Failure>> {
        let dir = self.dir(cell);
        let file = dir.join(FAILURE);
        let Some(text) = read_if_there(&file)? else { return Ok(None) };
        match toml::from_str(&text) {
            Ok(failure) => Ok(Some(failure)),
            Err(error) => {
                let problem = format!("not the record of a failure ({})", error.message());
                Err(Error::Corrupt { file, dir, problem })
            }
        }
    }

    /// Takes the cell for this process: creates its folder, locks it, removes the temporary files
    /// of dead writers and the record of an earlier failure, and writes `spec.toml` or checks the
    /// one that is there. Where the lock is that of a dead process, `note` is told of it first.
    ///
    /// # Errors
    /// As [`Store::result`], and a folder that cannot be read or written.
    pub fn enter(&self, cell: &Cell, note: &dyn Fn(&str)) -> Result<Entry> {
        if let Some(result) = self.result(cell)? {
            return Ok(Entry::Done(result));
        }
        let dir = self.dir(cell);
        atomic::create_dir(&dir)?;
        let lock = match self.locks.take(&dir)? {
            Taken::Held(holder) => return Ok(Entry::Busy(holder)),
            Taken::Ours(lock, None) => lock,
            Taken::Ours(lock, Some(dead)) => {
                note(&format!("{}: taken over from {dead}", cell.label()));
                lock
            }
        };
        // Another process may have finished it between our first look and our lock.
        if let Some(result) = self.result(cell)? {
            lock.clear();
            return Ok(Entry::Done(result));
        }
        atomic::sweep(&dir)?;
        remove_if_there(&dir.join(FAILURE))?;
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
        Ok(Entry::Entered(CellDir { path: dir, lock }))
    }
}

/// The folder of a cell that this process runs. Dropping it releases the lock.
#[derive(Debug)]
pub struct CellDir {
    path: PathBuf,
    lock: Lock,
}

impl CellDir {
    /// The folder: the cell may write any file in it but `spec.toml`, `failure.toml`, `result.json`
    /// and those whose names begin with `lock`.
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
            let own = [OLD_LOCK, SPEC, RESULT, FAILURE].contains(&name);
            if own || name.starts_with('.') || name.ends_with(".csv") || !path.is_file() {
                continue;
            }
            found.insert(name.to_owned(), sha256(&path)?);
        }
        Ok(found)
    }

    /// Writes the result and gives the cell back: from here on it is finished. False where another
    /// machine had taken this process for dead and has the cell now; nothing is written then.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn finish(self, result: &CellResult) -> Result<bool> {
        if !self.lock.is_ours()? {
            return Ok(false);
        }
        let path = self.path.join(RESULT);
        let mut text = serde_json::to_string_pretty(result)
            .map_err(|error| Error::file(path.display().to_string(), one_line(&error)))?;
        text.push('\n');
        atomic::write(&path, text.as_bytes())?;
        self.lock.clear();
        Ok(true)
    }

    /// Records why the attempt failed, for listings, and gives the cell back.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn fail(self, failure: &Failure) -> Result<()> {
        let path = self.path.join(FAILURE);
        let text = toml::to_string(failure)
            .map_err(|error| Error::file(path.display().to_string(), one_line(&error)))?;
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

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
