//! MNIST from the Hugging Face hub: the data set `ylecun/mnist`, as the hub's own conversion to Parquet.
//!
//! The cache is looked at first, without a connection. `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT` and `HF_TOKEN` mean what they mean to
//! `hf-hub`; `HF_HUB_OFFLINE`, which `hf-hub` 1.0 does not read, is read here.

use std::error::Error;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFClientSync, HFError, HFRepositorySync, RepoTypeDataset};

use super::{CLASSES, Mnist, SIDE};
use crate::data::DataError;
use crate::data::error::one_line;
use crate::data::table::{self, Form};

const OWNER: &str = "ylecun";
const NAME: &str = "mnist";
/// The branch on which the hub keeps its conversions.
const REVISION: &str = "refs/convert/parquet";
/// Training set, test set.
const FILES: [&str; 2] = ["mnist/train/0000.parquet", "mnist/test/0000.parquet"];
const FORM: Form = Form { image: "image.bytes", label: "label", classes: CLASSES, coarse: None, channels: 1, rows: SIDE, cols: SIDE };

/// Where and how long to look. [`Hub::from_env`] is what a program wants; the fields are for tests and mirrors.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The cache directory, `None` for hf-hub's own choice.
    pub cache: Option<PathBuf>,
    /// The server, `None` for hf-hub's own choice.
    pub endpoint: Option<String>,
    /// Whether never to connect.
    pub offline: bool,
    /// How long to wait for the server's first answer, and later for the next byte. hf-hub itself would wait for ever.
    pub patience: Duration,
    /// The content hash that the files must have, `None` for any.
    pub content: Option<String>,
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
    /// The hub as the environment has it: 20 seconds of patience, MNIST's content expected, offline if `HF_HUB_OFFLINE` is `1`, `on`,
    /// `yes` or `true`.
    pub fn from_env() -> Self {
        let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|v| ["1", "on", "yes", "true"].contains(&v.to_lowercase().as_str()));
        let content = Some(Mnist::CONTENT.to_string());
        Self { cache: None, endpoint: None, offline, patience: Duration::from_secs(20), content }
    }

    /// The files in the cache; `None` where one is missing. Does not connect.
    ///
    /// # Errors
    /// [`DataError::Cache`] where the cache cannot be read.
    pub fn cached(&self) -> Result<Option<Files>, DataError> {
        let client = self.client()?;
        let repo = client.sync.dataset(OWNER, NAME);
        let get = |name| match repo.download_file().filename(name).revision(REVISION).local_files_only(true).send() {
            Ok(path) => Ok(Some(path)),
            // The second is a note in the cache that the file did not exist; it may exist by now.
            Err(HFError::LocalEntryNotFound { .. } | HFError::EntryNotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed(&client, e)),
        };
        let [train, test] = FILES.map(get);
        Ok(train?.zip(test?).map(|(train, test)| Files { train, test }))
    }

    /// Downloads what is missing from the cache. Returns within [`Hub::patience`] of the last sign of life from the server.
    ///
    /// # Errors
    /// [`DataError::Unreachable`] where the server could not be asked or did not deliver, or [`Hub::offline`] is set;
    /// [`DataError::Cache`] where the files could not be written.
    pub fn download(&self) -> Result<Files, DataError> {
        let client = self.client()?;
        if self.offline {
            return Err(self.unreachable(&client, "HF_HUB_OFFLINE is set".to_string()));
        }
        let (send, receive) = mpsc::channel();
        let repo = client.sync.dataset(OWNER, NAME);
        // hf-hub sets no timeout on connections or reads, and offers no place for one. So the download runs on a thread of its own, and a
        // download that stalls is abandoned: its thread ends with the process, and leaves at most an unfinished file that hf-hub ignores.
        let spawned = thread::Builder::new().name("mnist-download".to_string()).spawn(move || {
            let files = FILES.map(|name| download_one(&repo, name, &send));
            // Nobody listens after a stall.
            let _ = send.send(Message::Done(files));
        });
        if let Err(e) = spawned {
            return Err(self.unreachable(&client, one_line(&e)));
        }
        let started = Instant::now();
        let (mut alive, mut bytes) = (Instant::now(), 0);
        loop {
            match receive.recv_timeout(self.patience.saturating_sub(alive.elapsed())) {
                Ok(Message::Done([train, test])) => {
                    return Ok(Files {
                        train: train.map_err(|e| self.failed(&client, e))?,
                        test: test.map_err(|e| self.failed(&client, e))?,
                    });
                }
                // Some transfers report at fixed intervals whether or not anything came.
                Ok(Message::Bytes(n)) if n != bytes => (alive, bytes) = (Instant::now(), n),
                Ok(Message::Bytes(_)) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let reason = match bytes {
                        0 => format!("no answer within {:.0} s", started.elapsed().as_secs_f64()),
                        n => format!("no more data for {:.0} s after {n} bytes", alive.elapsed().as_secs_f64()),
                    };
                    return Err(self.unreachable(&client, reason));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.unreachable(&client, "the download thread ended".to_string())),
            }
        }
    }

    /// Reads both files and checks their content.
    ///
    /// # Errors
    /// As [`table::read`], and [`DataError::Content`] where they hold something other than MNIST.
    pub fn read(&self, files: &Files) -> Result<Mnist, DataError> {
        let read = |path| table::read(path, &FORM);
        let mnist = Mnist { train: read(&files.train)?, test: read(&files.test)? };
        match (&self.content, mnist.content_hash()) {
            (Some(expected), got) if *expected != got => {
                Err(DataError::Content { found: files.train.display().to_string(), expected: expected.clone(), got })
            }
            _ => Ok(mnist),
        }
    }

    fn client(&self) -> Result<Client, DataError> {
        let mut builder = HFClient::builder();
        if let Some(cache) = &self.cache {
            builder = builder.cache_dir(cache);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        let failed = |e: HFError| {
            let cache = self.cache.clone().unwrap_or_else(hf_hub::resolve_cache_dir);
            DataError::Cache { dataset: dataset(), cache, reason: one_line(&e) }
        };
        // Two retries within a second: a laptop without a network should learn it soon.
        let client = builder.retry_max_attempts(2).build().map_err(failed)?;
        let (endpoint, cache) = (client.endpoint().to_string(), client.cache_dir().to_path_buf());
        Ok(Client { sync: HFClientSync::from_inner(client).map_err(failed)?, endpoint, cache })
    }

    fn unreachable(&self, client: &Client, reason: String) -> DataError {
        DataError::Unreachable { dataset: dataset(), endpoint: client.endpoint.clone(), reason }
    }

    fn failed(&self, client: &Client, error: HFError) -> DataError {
        match error {
            HFError::Io(_) | HFError::CacheLockTimeout { .. } | HFError::CacheNotEnabled => {
                DataError::Cache { dataset: dataset(), cache: client.cache.clone(), reason: one_line(&error) }
            }
            // The outer layers of a transport error only repeat the address.
            error @ HFError::Request { .. } => {
                let transport = error.source();
                let cause = transport.and_then(Error::source).or(transport).map(one_line);
                self.unreachable(client, cause.unwrap_or_else(|| one_line(&error)))
            }
            error => self.unreachable(client, one_line(&error)),
        }
    }
}

/// hf-hub's client, and what its blocking form does not tell.
struct Client {
    sync: HFClientSync,
    endpoint: String,
    cache: PathBuf,
}

fn dataset() -> String {
    format!("{OWNER}/{NAME}")
}

enum Message {
    /// A sign of life: a number that changes with each byte.
    Bytes(u64),
    Done([Result<PathBuf, HFError>; 2]),
}

fn download_one(repo: &HFRepositorySync<RepoTypeDataset>, name: &str, send: &Sender<Message>) -> Result<PathBuf, HFError> {
    let file = repo.download_file().filename(name).revision(REVISION);
    match file.clone().local_files_only(true).send() {
        Err(HFError::LocalEntryNotFound { .. } | HFError::EntryNotFound { .. }) => file.progress(Watch(send.clone())).send(),
        cached => cached,
    }
}

struct Watch(Sender<Message>);

impl ProgressHandler for Watch {
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
