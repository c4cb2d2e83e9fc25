//! Which MNIST: the choice between a directory, the hub and the generator, and a record of what was
//! chosen.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::embedded::{self, Embedded};
use super::set::Mnist;
use super::{hub, idx};
use crate::data::hub::{Hub, Repo};
use crate::data::{DataError, Known, Provenance};

/// What `--data` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MnistSource {
    /// MNIST; the generator where there is no network and nothing on this machine.
    #[default]
    Auto,
    /// MNIST, or an error.
    Mnist,
    /// The generator.
    Embedded,
}

impl FromStr for MnistSource {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "auto" => Ok(Self::Auto),
            "mnist" => Ok(Self::Mnist),
            "embedded" => Ok(Self::Embedded),
            _ => Err(DataError::Argument {
                what: "data",
                expected: "auto, mnist or embedded".to_string(),
                got: name.to_string(),
            }),
        }
    }
}

impl fmt::Display for MnistSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Mnist => "mnist",
            Self::Embedded => "embedded",
        })
    }
}

/// Which data set [`load`] reads, and from where.
#[derive(Clone, Debug)]
pub struct MnistRequest {
    /// Which data set.
    pub source: MnistSource,
    /// A directory of IDX files, instead of the hub.
    pub dir: Option<PathBuf>,
    /// What to generate if the data is generated.
    pub embedded: Embedded,
    /// Where to look for the hub's files.
    pub hub: Hub,
    /// The content hash that the hub's files must have, `None` for any.
    pub content: Option<String>,
}

impl MnistRequest {
    /// A request with the environment's hub and the generator's defaults.
    pub fn new(source: MnistSource, dir: Option<PathBuf>) -> Self {
        let content = Some(Mnist::CONTENT.to_string());
        Self { source, dir, embedded: Embedded::default(), hub: Hub::from_env(), content }
    }
}

/// Finds, downloads or generates the data set.
///
/// With a directory, its IDX files. Without one, the hub's cache, then the hub.
/// [`MnistSource::Auto`] goes on to the generator where the hub cannot be reached, and says so in
/// the note; a named data set never becomes another. Files that are there and corrupt, or a
/// directory without the files, are errors in each case.
///
/// # Errors
/// As [`idx::load_dir`] and [`Hub::files`]; those of [`hub::read`] as [`DataError::Cached`];
/// [`DataError::DirectoryUnused`] for a directory together with [`MnistSource::Embedded`].
pub fn load(request: &MnistRequest) -> Result<(Mnist, Provenance), DataError> {
    match (request.source, &request.dir) {
        (MnistSource::Embedded, Some(dir)) => Err(DataError::DirectoryUnused { dir: dir.clone() }),
        (MnistSource::Embedded, None) => Ok(generate(&request.embedded, None)),
        (MnistSource::Auto | MnistSource::Mnist, Some(dir)) => {
            let mnist = idx::load_dir(dir)?;
            let content = mnist.content_hash();
            let known = known(&content);
            let note = (known == Known::Other).then(|| {
                let (train, test) = (mnist.train.len(), mnist.test.len());
                format!("{}: {train} + {test} images that are not the original MNIST (content {content})", dir.display())
            });
            let (dataset, found) = ("mnist", dir.display().to_string());
            Ok((mnist, Provenance { dataset, known, found, note, content }))
        }
        (source, None) => {
            let original = request.content.as_deref() == Some(Mnist::CONTENT);
            let repo = Repo { sha256: if original { hub::REPO.sha256 } else { &[] }, ..hub::REPO };
            let files = match request.hub.files(&repo) {
                Ok(files) => files,
                Err(e @ DataError::Unreachable { .. }) if source == MnistSource::Auto => {
                    let note = format!(
                        "{e}; using generated digits instead, whose results are not MNIST's"
                    );
                    return Ok(generate(&request.embedded, Some(note)));
                }
                Err(e) => return Err(e),
            };
            let mnist = hub::read(&files, request.content.as_deref())
                .map_err(|e| request.hub.in_cache(repo.owner, repo.name, e))?;
            let content = mnist.content_hash();
            Ok((
                mnist,
                Provenance {
                    dataset: "mnist",
                    known: known(&content),
                    found: files.train.display().to_string(),
                    note: None,
                    content,
                },
            ))
        }
    }
}

fn generate(what: &Embedded, note: Option<String>) -> (Mnist, Provenance) {
    let mnist = embedded::generate(what);
    let content = mnist.content_hash();
    let found = format!("generated: {} + {} digits, seed {}", what.train, what.test, what.seed);
    let (dataset, known) = ("embedded", Known::Generated);
    (mnist, Provenance { dataset, known, found, note, content })
}

fn known(content: &str) -> Known {
    if content == Mnist::CONTENT { Known::Original } else { Known::Other }
}
