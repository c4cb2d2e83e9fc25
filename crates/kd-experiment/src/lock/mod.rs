//! The lock of a cell's folder, for processes on any machines that share the store.
//!
//! Locks of the operating system do not hold on every network file system, so the lock is made of
//! folders: `lock.1`, `lock.2` and so on, of which the one with the highest number counts. Each has
//! a file `holder` that says who made it ([`Holder`]), and a file `beat` that changes every fifteen
//! seconds while the holder lives; a file `released` says that it gave the lock back.
//!
//! - **Taking it.** Where the highest is free, a process renames a folder of its own, complete with
//!   its `holder`, to the next number. A rename to a folder that is there and not empty fails, so
//!   one of several processes succeeds. It then looks again whether its number is the highest.
//! - **No number is removed before the cell is finished**, after which nobody asks for the lock: a
//!   process that was about to take over from a dead one, and was overtaken by another, finds the
//!   higher number and steps back. With one file, removed and made again, it would remove the new
//!   holder's.
//! - **The dead.** A process of this machine that ended, or that ran before this machine was started
//!   again, is known to be dead: its lock is taken over at once. Of a process on another machine
//!   nobody here can say. A preempted node dies without a word, and the task that takes its place
//!   must not wait for ever, nor for a person who deletes a file. So a holder that cannot be seen is
//!   taken for dead once its `beat` has stood still for three minutes of looking at it. No clocks of
//!   two machines are compared, and the time in which the store itself does not answer, or the
//!   looking process sleeps, does not count.
//! - **The mistaken.** A machine that was cut off for so long and comes back finds a higher number
//!   than its own. What it wrote in the meantime is the same bytes, since a cell's files depend on
//!   nothing but its spec, and each is renamed into place whole. It leaves the result to the new
//!   holder.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::duration::duration;
use crate::error::{Error, Result};
use crate::holder::{Holder, Life};

const PREFIX: &str = "lock.";
const PREPARED: &str = ".lock-";
const HOLDER: &str = "holder";
const BEAT: &str = "beat";
const RELEASED: &str = "released";
/// The lock of earlier versions: a file that the operating system locked.
const EARLIER: &str = "lock";

/// How often a holder gives a sign of life.
const EVERY: Duration = Duration::from_secs(15);
/// How long the sign of a holder that cannot be seen may stand still.
const PATIENCE: Duration = Duration::from_secs(180);
/// The most that the time between two looks counts.
const LOOK: Duration = Duration::from_secs(10);
/// How often a process that was overtaken tries again before it says that the lock is held.
const TRIES: usize = 16;

/// The locks of a store, with what this process has seen of other machines' holders. Clones share
/// it.
#[derive(Debug, Clone)]
pub(crate) struct Locks {
    watched: Arc<Mutex<BTreeMap<PathBuf, Watch>>>,
    every: Duration,
    patience: Duration,
}

/// A holder that cannot be seen, watched.
#[derive(Debug)]
struct Watch {
    beat: Vec<u8>,
    looked: Instant,
    /// How long the beat has stood still, as far as it was looked at.
    still: Duration,
}

/// How a lock stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has it; the last holder is named where it died with it, and how that is known.
    Free(Option<(Holder, String)>),
    /// Somebody has it; none where it is a process of an earlier version, which did not say.
    Held(Option<Holder>),
}

/// What came of the attempt to take a lock.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is ours. A dead holder from whom it was taken is named.
    Ours(Lock, Option<String>),
    /// Somebody else has it.
    Held(Option<Holder>),
}

/// A lock that this process holds until the value is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    dir: PathBuf,
    number: u64,
    /// Dropped to end the beating.
    beating: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Default for Locks {
    fn default() -> Self {
        Self { watched: Arc::default(), every: EVERY, patience: PATIENCE }
    }
}

impl Locks {
    /// How the lock of the folder `dir` stands. Nothing is changed.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn standing(&self, dir: &Path) -> Result<Standing> {
        for _ in 0..TRIES {
            if let Some(standing) = self.look(dir, highest(dir)?)? {
                return Ok(standing);
            }
        }
        Ok(Standing::Held(None))
    }

    /// Takes the lock of the folder `dir`, which is there, if nobody living has it.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub(crate) fn take(&self, dir: &Path) -> Result<Taken> {
        for _ in 0..TRIES {
            let before = highest(dir)?;
            let dead = match self.look(dir, before)? {
                Some(Standing::Held(holder)) => return Ok(Taken::Held(holder)),
                Some(Standing::Free(dead)) => dead,
                None => continue,
            };
            let number = before.unwrap_or(0) + 1;
            if !make(dir, number)? {
                continue;
            }
            if highest(dir)? != Some(number) {
                remove(&place(dir, number));
                continue;
            }
            sweep(dir)?;
            let taken_from = dead.map(|(holder, how)| format!("{}, {how}", holder.name()));
            return Ok(Taken::Ours(self.hold(dir, number), taken_from));
        }
        Ok(Taken::Held(None))
    }

    /// Looks at the lock of this number in `dir`; none where it has gone meanwhile.
    fn look(&self, dir: &Path, number: Option<u64>) -> Result<Option<Standing>> {
        if earlier_version_holds(dir)? {
            return Ok(Some(Standing::Held(None)));
        }
        let Some(number) = number else { return Ok(Some(Standing::Free(None))) };
        let lock = &place(dir, number);
        if !lock.is_dir() {
            return Ok(None);
        }
        if lock.join(RELEASED).exists() {
            return Ok(Some(Standing::Free(None)));
        }
        // What a machine lost as it went down may leave nothing legible: nobody can be seen then.
        let holder: Holder = fs::read_to_string(lock.join(HOLDER))
            .ok()
            .and_then(|text| toml::from_str(&text).ok())
            .unwrap_or_default();
        let how = match holder.life(&Holder::this_process()) {
            Life::Lives => return Ok(Some(Standing::Held(Some(holder)))),
            Life::Ended => "which has ended".to_owned(),
            Life::EarlierBoot => "before this machine was started again".to_owned(),
            Life::Unseen => {
                let still = self.stood_still(lock);
                if still < self.patience {
                    return Ok(Some(Standing::Held(Some(holder))));
                }
                format!("of which nothing was heard for {}", duration(still.as_secs_f64()))
            }
        };
        Ok(Some(Standing::Free(Some((holder, how)))))
    }

    /// How long the beat of a lock has stood still while this process looked.
    fn stood_still(&self, lock: &Path) -> Duration {
        let beat = fs::read(lock.join(BEAT)).unwrap_or_default();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Watch { beat: beat.clone(), looked: Instant::now(), still: Duration::ZERO };
        let watch = watched.entry(lock.to_path_buf()).or_insert_with(new);
        if watch.beat == beat {
            watch.still += watch.looked.elapsed().min(LOOK);
            watch.looked = Instant::now();
        } else {
            *watch = new();
        }
        watch.still
    }

    /// Starts the beating of a lock that is ours.
    fn hold(&self, dir: &Path, number: u64) -> Lock {
        let (end, ended) = mpsc::channel::<()>();
        let (beat, every) = (place(dir, number).join(BEAT), self.every);
        let beating = std::thread::Builder::new().name("lock".to_owned()).spawn(move || {
            for count in 1_u64.. {
                if ended.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                // The next one may succeed. A lock that was removed must not be made again.
                let file = OpenOptions::new().write(true).truncate(true).open(&beat);
                let _ = file.and_then(|mut file| file.write_all(count.to_string().as_bytes()));
            }
        });
        // Without a thread there is no beating, and other machines may take over later.
        let beating = beating.ok().map(|thread| (end, thread));
        Lock { dir: dir.to_path_buf(), number, beating }
    }
}

impl Lock {
    /// Whether nobody has taken it over.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn is_ours(&self) -> Result<bool> {
        Ok(highest(&self.dir)? == Some(self.number))
    }

    /// Removes it with all earlier ones: the cell is finished, and nobody asks for it any more.
    pub(crate) fn clear(mut self) {
        self.end_beating();
        for number in numbers(&self.dir).unwrap_or_default() {
            remove(&place(&self.dir, number));
        }
    }

    fn end_beating(&mut self) {
        if let Some((end, thread)) = self.beating.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.end_beating();
        // Where this fails, the lock is free once the process has ended.
        let lock = place(&self.dir, self.number);
        if lock.is_dir() {
            let _ = File::create(lock.join(RELEASED));
        }
    }
}

fn place(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number}"))
}

/// The numbers of the locks in a folder; none where it is not there.
fn numbers(dir: &Path) -> Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::io("read", dir))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(found)
}

fn highest(dir: &Path) -> Result<Option<u64>> {
    Ok(numbers(dir)?.into_iter().max())
}

/// Makes the lock of this number for this process; false where another made it first.
fn make(dir: &Path, number: u64) -> Result<bool> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let holder = Holder::this_process();
    let text = toml::to_string(&holder).map_err(|error| Error::failure(error.to_string()))?;
    // No two processes of any machines have this name at once.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (host, process) = (holder.host.replace('/', "-"), holder.process);
    let prepared = dir.join(format!("{PREPARED}{host}-{process}-{}-{count}", holder.started));
    remove(&prepared);
    let target = place(dir, number);
    let made = fs::create_dir(&prepared)
        .and_then(|()| File::create(prepared.join(HOLDER)))
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::write(prepared.join(BEAT), "0"))
        .and_then(|()| fs::rename(&prepared, &target));
    let Err(error) = made else { return Ok(true) };
    // Another may have swept what was prepared, and systems differ in how they say that a folder
    // is in the way.
    let overtaken = target.exists() || error.kind() == ErrorKind::NotFound && dir.is_dir();
    remove(&prepared);
    if overtaken { Ok(false) } else { Err(Error::io("create", &target)(error)) }
}

/// Removes what those who were overtaken, or died, had prepared. One that is about to be renamed
/// may be among it; its process tries again.
fn sweep(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        if entry.file_name().to_string_lossy().starts_with(PREPARED) {
            remove(&entry.path());
        }
    }
    Ok(())
}

/// Removes a folder. What stays is litter that nobody takes for a lock that counts.
fn remove(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
}

/// Whether a process of an earlier version has the folder.
fn earlier_version_holds(dir: &Path) -> Result<bool> {
    let path = dir.join(EARLIER);
    match File::open(&path) {
        // A file system without such locks: no earlier version could have run there.
        Ok(file) => Ok(matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

#[cfg(test)]
mod tests;
