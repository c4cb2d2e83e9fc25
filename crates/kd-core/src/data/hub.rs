//! Data sets from the Hugging Face hub: files of its own conversion to Parquet ([`CONVERSIONS`]),
//! or of any other revision.
//!
//! The cache is looked at first, without a connection. `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT` and
//! `HF_TOKEN` mean what they mean to `hf-hub`; `HF_HUB_OFFLINE`, which `hf-hub` 1.0 does not read,
//! is read here. A `~` at the front of the cache's folder is the home folder, as it is to Hugging
//! Face's Python programs: a shell does not replace it everywhere.
//!
//! A file is looked at as soon as it is downloaded ([`published`]), and what is not the file that
//! was asked for is removed from the cache: the login page of a network would otherwise stay there
//! under the file's name.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, fs, io};

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFClientSync, HFError, HFRepositorySync, RepoTypeDataset};
use kd_base::message::with_causes;
use kd_base::{Blame, Fault};

use super::{DataError, published};

/// The branch on which the hub keeps its conversions to Parquet.
pub const CONVERSIONS: &str = "refs/convert/parquet";
/// The branch that a data set's owner writes.
pub const MAIN: &str = "main";

/// Files of a data set on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubDataset {
    /// Whose it is.
    pub owner: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// The branch, such as [`MAIN`].
    pub revision: &'static str,
    /// Paths on that branch.
    pub files: Vec<&'static str>,
    /// The SHA-256 of each file, where it is known (see [`published`]); empty for any content.
    pub sha256: &'static [&'static str],
}

impl fmt::Display for HubDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A data set on the hub that is one file for training and one for testing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repo {
    /// Whose it is.
    pub owner: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// Its files on the branch of conversions: training set, test set.
    pub files: [&'static str; 2],
    /// The same on the branch [`MAIN`], where Python's `datasets` finds them: they are looked for in
    /// the cache alone.
    pub main: [&'static str; 2],
    /// Of `files`, as [`HubDataset::sha256`].
    pub sha256: &'static [&'static str],
}

impl Repo {
    fn listing(&self) -> HubDataset {
        HubDataset {
            owner: self.owner,
            name: self.name,
            revision: CONVERSIONS,
            files: self.files.to_vec(),
            sha256: self.sha256,
        }
    }

    fn main_listing(&self) -> HubDataset {
        HubDataset { revision: MAIN, files: self.main.to_vec(), sha256: &[], ..self.listing() }
    }
}

/// Where and how long to look. [`Hub::from_env`] is what a program wants; the fields are for tests
/// and mirrors.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The cache directory, `None` for hf-hub's own choice.
    pub cache: Option<PathBuf>,
    /// The server, `None` for hf-hub's own choice.
    pub endpoint: Option<String>,
    /// Whether never to connect.
    pub offline: bool,
    /// How long to wait for the server's first answer, and later for the next byte. hf-hub itself
    /// would wait for ever.
    pub patience: Duration,
}

/// Files found or downloaded: training set, test set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The training set.
    pub train: PathBuf,
    /// The test set.
    pub test: PathBuf,
}

impl Hub {
    /// The hub as the environment has it: 20 seconds of patience, offline if `HF_HUB_OFFLINE` is
    /// `1`, `on`, `yes` or `true`. A `~` at the head of the cache's folder is the home directory, as
    /// it is to the hub's own clients.
    pub fn from_env() -> Self {
        let offline = std::env::var("HF_HUB_OFFLINE")
            .is_ok_and(|v| ["1", "on", "yes", "true"].contains(&v.to_lowercase().as_str()));
        Self { cache: None, endpoint: None, offline, patience: Duration::from_secs(20) }
    }

    /// The files in the cache, or else downloaded.
    ///
    /// # Errors
    /// As [`Hub::fetch`].
    pub fn files(&self, what: &Repo) -> Result<Files, DataError> {
        match self.cached(what)? {
            Some(files) => Ok(files),
            None => two(self.download(&what.listing())?),
        }
    }

    /// The files in the cache, on the branch of conversions or on [`MAIN`]; `None` where one is
    /// missing on both. Does not connect.
    ///
    /// # Errors
    /// As [`Hub::find`].
    pub fn cached(&self, what: &Repo) -> Result<Option<Files>, DataError> {
        let found = match self.find(&what.listing())? {
            None => self.find(&what.main_listing())?,
            found => found,
        };
        found.map(two).transpose()
    }

    /// The files of a listing, in its order: from the cache, or else downloaded.
    ///
    /// # Errors
    /// As [`Hub::find`] and [`Hub::download`].
    pub fn fetch(&self, what: &HubDataset) -> Result<Vec<PathBuf>, DataError> {
        match self.find(what)? {
            Some(files) => Ok(files),
            None => self.download(what),
        }
    }

    /// The files of a listing in the cache; `None` where one is missing. Does not connect.
    ///
    /// # Errors
    /// [`DataError::Cache`] where the cache cannot be read; [`DataError::Cached`] for a file that is
    /// not what the hub published.
    pub fn find(&self, what: &HubDataset) -> Result<Option<Vec<PathBuf>>, DataError> {
        let client = self.client(what)?;
        let repo = client.sync.dataset(what.owner, what.name);
        let get = |name: &&str| match repo
            .download_file()
            .filename(*name)
            .revision(what.revision)
            .local_files_only(true)
            .send()
        {
            Ok(path) => Ok(Some(path)),
            // The second is a note in the cache that the file did not exist; it may exist by now.
            Err(HFError::LocalEntryNotFound { .. } | HFError::EntryNotFound { .. }) => Ok(None),
            Err(e) => Err(client.failed(e)),
        };
        let files: Option<Vec<PathBuf>> =
            what.files.iter().map(get).collect::<Result<_, DataError>>()?;
        let Some(files) = files else { return Ok(None) };
        for (i, path) in files.iter().enumerate() {
            let checked = published::check(path, what.sha256.get(i).copied());
            checked.map_err(|e| self.in_cache(what.owner, what.name, e))?;
        }
        Ok(Some(files))
    }

    /// What is wrong with a file of the cache, with the folder to delete so that the data set is
    /// downloaded again. Errors that no download mends stay as they are.
    pub fn in_cache(&self, owner: &str, name: &str, error: DataError) -> DataError {
        let elsewhere = matches!(
            error,
            DataError::Io { .. }
                | DataError::Cache { .. }
                | DataError::Cached { .. }
                | DataError::Unreachable { .. }
                | DataError::Argument { .. }
        );
        if elsewhere || error.fault() != Fault::BadInput {
            return error;
        }
        DataError::Cached { source: Box::new(error), folder: folder(&self.cache(), owner, name) }
    }

    /// The cache's folder.
    fn cache(&self) -> PathBuf {
        let from_env = || expanded(hf_hub::resolve_cache_dir(), std::env::home_dir());
        self.cache.clone().unwrap_or_else(from_env)
    }

    /// Downloads what is missing from the cache of a listing. Returns within [`Hub::patience`] of
    /// the last sign of life from the server. What the server sends in place of a file is not kept.
    ///
    /// # Errors
    /// [`DataError::Unreachable`] where the server could not be asked, did not deliver or sent
    /// something else, or [`Hub::offline`] is set; [`DataError::Cache`] where the files could not
    /// be written; [`DataError::Cached`] for a file that was in the cache already and is not what
    /// the hub published, or that could not be removed.
    pub fn download(&self, what: &HubDataset) -> Result<Vec<PathBuf>, DataError> {
        let client = self.client(what)?;
        if self.offline {
            return Err(client.unreachable("HF_HUB_OFFLINE is set".to_string()));
        }
        let (send, receive) = mpsc::channel();
        let download = Download {
            repo: client.sync.dataset(what.owner, what.name),
            revision: what.revision,
            folder: folder(&client.cache, what.owner, what.name),
            send,
        };
        let (names, sha256) = (what.files.clone(), what.sha256);
        // hf-hub sets no timeout on connections or reads, and offers no place for one. The
        // download runs on a thread of its own, and a download that stalls is abandoned:
        // its thread ends with the process, and leaves at most an unfinished file that hf-hub
        // ignores.
        let spawned = thread::Builder::new().name("download".to_string()).spawn(move || {
            let get = |(i, name): (usize, &'static str)| download.one(name, sha256.get(i).copied());
            let files = names.into_iter().enumerate().map(get).collect();
            // Nobody listens after a stall.
            let _ = download.send.send(Message::Done(files));
        });
        if let Err(e) = spawned {
            return Err(client.unreachable(with_causes(&e)));
        }
        let started = Instant::now();
        let (mut alive, mut bytes) = (Instant::now(), 0);
        loop {
            match receive.recv_timeout(self.patience.saturating_sub(alive.elapsed())) {
                Ok(Message::Done(files)) => {
                    return files.map_err(|failure| match failure {
                        Failure::Hub(e) => client.failed(e),
                        Failure::Sent(reason) => client.unreachable(reason),
                        Failure::Kept(e) => self.in_cache(what.owner, what.name, e),
                    });
                }
                // Some transfers report at fixed intervals whether or not anything came.
                Ok(Message::Bytes(n)) if n != bytes => (alive, bytes) = (Instant::now(), n),
                Ok(Message::Bytes(_)) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let reason = match bytes {
                        0 => format!("no answer within {:.0} s", started.elapsed().as_secs_f64()),
                        n => format!(
                            "no more data for {:.0} s after {n} bytes",
                            alive.elapsed().as_secs_f64()
                        ),
                    };
                    return Err(client.unreachable(reason));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(client.unreachable("the download thread ended".to_string()));
                }
            }
        }
    }

    fn client(&self, what: &HubDataset) -> Result<Client, DataError> {
        let cache = self.cache();
        let mut builder = HFClient::builder().cache_dir(&cache);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        let failed = |e: HFError| DataError::Cache {
            dataset: what.to_string(),
            cache: cache.clone(),
            reason: with_causes(&e),
        };
        // Two retries within a second: a laptop without a network should learn it soon.
        let client = builder.retry_max_attempts(2).build().map_err(failed)?;
        let endpoint = client.endpoint().to_string();
        let sync = HFClientSync::from_inner(client).map_err(failed)?;
        Ok(Client { dataset: what.to_string(), sync, endpoint, cache })
    }
}

/// hf-hub's client, and what its blocking form does not tell.
struct Client {
    dataset: String,
    sync: HFClientSync,
    endpoint: String,
    cache: PathBuf,
}

impl Client {
    fn unreachable(&self, reason: String) -> DataError {
        DataError::Unreachable {
            dataset: self.dataset.clone(),
            endpoint: self.endpoint.clone(),
            reason,
        }
    }

    fn failed(&self, error: HFError) -> DataError {
        match error {
            HFError::Io(_) | HFError::CacheLockTimeout { .. } | HFError::CacheNotEnabled => {
                DataError::Cache {
                    dataset: self.dataset.clone(),
                    cache: self.cache.clone(),
                    reason: with_causes(&error),
                }
            }
            // The outer layers of a transport error only repeat the address.
            error @ HFError::Request { .. } => {
                let transport = error.source();
                let cause = transport.and_then(Error::source).or(transport).map(with_causes);
                self.unreachable(cause.unwrap_or_else(|| with_causes(&error)))
            }
            error => self.unreachable(with_causes(&error)),
        }
    }
}

enum Message {
    /// A sign of life: a number that changes with each byte.
    Bytes(u64),
    Done(Result<Vec<PathBuf>, Failure>),
}

/// Why there is no file.
enum Failure {
    /// The client failed.
    Hub(HFError),
    /// The server sent something else, which is removed from the cache. In one line.
    Sent(String),
    /// What is in the cache is something else, and stays there.
    Kept(DataError),
}

/// The folder of a data set in a cache.
fn folder(cache: &Path, owner: &str, name: &str) -> PathBuf {
    cache.join(format!("datasets--{owner}--{name}"))
}

/// `path` with `home` in place of a `~` at its front.
fn expanded(path: PathBuf, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// A training set and a test set.
fn two(files: Vec<PathBuf>) -> Result<Files, DataError> {
    let n = files.len();
    let [train, test] = <[PathBuf; 2]>::try_from(files).map_err(|_| DataError::Length {
        what: "files of a data set",
        expected: 2,
        got: n,
    })?;
    Ok(Files { train, test })
}

/// The download of a data set's files.
struct Download {
    repo: HFRepositorySync<RepoTypeDataset>,
    revision: &'static str,
    /// The data set's folder in the cache.
    folder: PathBuf,
    send: Sender<Message>,
}

impl Download {
    /// One file, from the cache or the server, once it is looked at.
    fn one(&self, name: &str, sha256: Option<&str>) -> Result<PathBuf, Failure> {
        let file = self.repo.download_file().filename(name).revision(self.revision);
        let check = |path: &Path| {
            // Nobody listens after a stall.
            published::check_telling(path, sha256, &mut |n| {
                let _ = self.send.send(Message::Bytes(n));
            })
        };
        match file.clone().local_files_only(true).send() {
            Err(HFError::LocalEntryNotFound { .. } | HFError::EntryNotFound { .. }) => {}
            Err(e) => return Err(Failure::Hub(e)),
            Ok(path) => return check(&path).map(|()| path).map_err(Failure::Kept),
        }
        // An answer moves the branch too, and one that is no file moves it to nothing.
        let branch = self.folder.join("refs").join(self.revision);
        let before = fs::read(&branch).ok();
        let path = file.progress(ProgressSender(self.send.clone())).send().map_err(Failure::Hub)?;
        let Err(wrong) = check(&path) else { return Ok(path) };
        let removed = remove(&path).and_then(|()| match before {
            Some(before) => fs::write(&branch, before),
            None => fs::remove_file(&branch),
        });
        if removed.is_err() {
            return Err(Failure::Kept(wrong));
        }
        let text = wrong.to_string();
        let what = text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text);
        Err(Failure::Sent(format!("{name} was not kept: {what}")))
    }
}

/// Removes a file from the cache: the name in the snapshot, and what it is a link to.
fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        fs::remove_file(fs::canonicalize(path)?)?;
    }
    fs::remove_file(path)
}

struct ProgressSender(Sender<Message>);

impl ProgressHandler for ProgressSender {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else { return };
        let bytes = match event {
            DownloadEvent::Start { .. } | DownloadEvent::Complete => 1,
            DownloadEvent::Progress { files } => files.iter().map(|f| f.bytes_completed).sum(),
            DownloadEvent::AggregateProgress { bytes_completed, .. } => *bytes_completed,
        };
        // Nobody listens after a stall.
        let _ = self.0.send(Message::Bytes(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_at_the_front_of_the_cache_is_the_home_folder() {
        let home = || Some(PathBuf::from("/home/me"));
        for (path, expected) in [
            ("~/models/hub", "/home/me/models/hub"),
            ("~", "/home/me"),
            ("/data/~/hub", "/data/~/hub"),
            ("~me/hub", "~me/hub"),
        ] {
            assert_eq!(expanded(path.into(), home()), Path::new(expected));
        }
        assert_eq!(expanded("~/hub".into(), None), Path::new("~/hub"));
    }
}
