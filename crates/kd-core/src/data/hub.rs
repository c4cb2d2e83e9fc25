//! Data sets from the Hugging Face hub: files of its own conversion to Parquet ([`CONVERSIONS`]),
//! or of any other revision.
//!
//! The cache is looked at first, without a connection. `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT` and
//! `HF_TOKEN` mean what they mean to `hf-hub`; `HF_HUB_OFFLINE`, which `hf-hub` 1.0 does not read,
//! is read here.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFClientSync, HFError, HFRepositorySync, RepoTypeDataset};
use kd_base::message::with_causes;

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
        let cache = cache_at_home(|name| std::env::var(name).ok());
        Self { cache, endpoint: None, offline, patience: Duration::from_secs(20) }
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
    /// [`DataError::Cache`] where the cache cannot be read; as [`published::check`] for a file that
    /// is not what the hub published.
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
        files.map(|files| as_published(what, files)).transpose()
    }

    /// Downloads what is missing from the cache of a listing. Returns within [`Hub::patience`] of
    /// the last sign of life from the server.
    ///
    /// # Errors
    /// [`DataError::Unreachable`] where the server could not be asked or did not deliver, or
    /// [`Hub::offline`] is set; [`DataError::Cache`] where the files could not be written; as
    /// [`published::check`] for a file that is not what the hub published.
    pub fn download(&self, what: &HubDataset) -> Result<Vec<PathBuf>, DataError> {
        let client = self.client(what)?;
        if self.offline {
            return Err(client.unreachable("HF_HUB_OFFLINE is set".to_string()));
        }
        let (send, receive) = mpsc::channel();
        let (repo, names, revision) =
            (client.sync.dataset(what.owner, what.name), what.files.clone(), what.revision);
        // hf-hub sets no timeout on connections or reads, and offers no place for one. The
        // download runs on a thread of its own, and a download that stalls is abandoned:
        // its thread ends with the process, and leaves at most an unfinished file that hf-hub
        // ignores.
        let spawned = thread::Builder::new().name("download".to_string()).spawn(move || {
            let files =
                names.into_iter().map(|name| download_one(&repo, name, revision, &send)).collect();
            // Nobody listens after a stall.
            let _ = send.send(Message::Done(files));
        });
        if let Err(e) = spawned {
            return Err(client.unreachable(with_causes(&e)));
        }
        let started = Instant::now();
        let (mut alive, mut bytes) = (Instant::now(), 0);
        loop {
            match receive.recv_timeout(self.patience.saturating_sub(alive.elapsed())) {
                Ok(Message::Done(files)) => {
                    return as_published(what, files.map_err(|e| client.failed(e))?);
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
        let mut builder = HFClient::builder();
        if let Some(cache) = &self.cache {
            builder = builder.cache_dir(cache);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        let failed = |e: HFError| {
            let cache = self.cache.clone().unwrap_or_else(hf_hub::resolve_cache_dir);
            DataError::Cache { dataset: what.to_string(), cache, reason: with_causes(&e) }
        };
        // Two retries within a second: a laptop without a network should learn it soon.
        let client = builder.retry_max_attempts(2).build().map_err(failed)?;
        let (endpoint, cache) = (client.endpoint().to_string(), client.cache_dir().to_path_buf());
        Ok(Client {
            dataset: what.to_string(),
            sync: HFClientSync::from_inner(client).map_err(failed)?,
            endpoint,
            cache,
        })
    }
}

/// The cache's folder where the environment (`get`) gives it with a `~`, which hf-hub takes for a
/// folder of that name; `None` to leave the choice to hf-hub.
fn cache_at_home(get: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folders = [("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")];
    let (folder, below) =
        folders.into_iter().find_map(|(name, below)| Some((get(name)?, below)))?;
    let rest = folder.strip_prefix('~')?;
    let rest = rest.strip_prefix('/').or(rest.is_empty().then_some(""))?;
    let home = PathBuf::from(get("HOME").filter(|home| !home.is_empty())?);
    Some(
        [rest, below]
            .into_iter()
            .filter(|part| !part.is_empty())
            .fold(home, |at, part| at.join(part)),
    )
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
    Done(Result<Vec<PathBuf>, HFError>),
}

/// The files of a listing, once their hashes are checked.
fn as_published(what: &HubDataset, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, DataError> {
    for (i, path) in files.iter().enumerate() {
        published::check(path, what.sha256.get(i).copied())?;
    }
    Ok(files)
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

fn download_one(
    repo: &HFRepositorySync<RepoTypeDataset>,
    name: &str,
    revision: &str,
    send: &Sender<Message>,
) -> Result<PathBuf, HFError> {
    let file = repo.download_file().filename(name).revision(revision);
    match file.clone().local_files_only(true).send() {
        Err(HFError::LocalEntryNotFound { .. } | HFError::EntryNotFound { .. }) => {
            file.progress(ProgressSender(send.clone())).send()
        }
        cached => cached,
    }
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
    fn a_tilde_at_the_head_of_the_caches_folder_is_the_home_directory() {
        let cache = |given: &[(&str, &str)]| {
            let given: Vec<(String, String)> =
                given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            let get = |name: &str| given.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
            cache_at_home(get).map(|path| path.display().to_string())
        };
        let home = ("HOME", "/home/a");
        assert_eq!(cache(&[home, ("HF_HOME", "~/x/hf")]), Some("/home/a/x/hf/hub".into()));
        assert_eq!(cache(&[home, ("HF_HOME", "~")]), Some("/home/a/hub".into()));
        let both = [home, ("HF_HOME", "~/x"), ("HF_HUB_CACHE", "~/y")];
        assert_eq!(cache(&both), Some("/home/a/y".into()));
        assert_eq!(cache(&[home, ("HF_HOME", "/x"), ("HF_HUB_CACHE", "/y")]), None);
        assert_eq!(cache(&[home, ("HF_HOME", "~b/x")]), None);
        assert_eq!(cache(&[home]), None);
        assert_eq!(cache(&[("HF_HOME", "~/x")]), None);
    }
}
