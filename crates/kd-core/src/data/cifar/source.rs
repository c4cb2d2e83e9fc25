//! Which CIFAR: the choice between a directory, the hub and the generator.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::embedded::{self, Embedded};
use super::set::{Cifar, Kind};
use super::{directory, hub};
use crate::data::hub::{Hub, Repo};
use crate::data::{DataError, Known, Provenance};

/// What `--data` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CifarSource {
    /// CIFAR-100; the generator where there is no network and nothing on this machine.
    #[default]
    Auto,
    /// This data set, or an error.
    Cifar(Kind),
    /// The generator.
    Embedded,
}

impl FromStr for CifarSource {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "auto" => Ok(Self::Auto),
            "cifar10" => Ok(Self::Cifar(Kind::Cifar10)),
            "cifar100" => Ok(Self::Cifar(Kind::Cifar100)),
            "embedded" => Ok(Self::Embedded),
            _ => Err(DataError::Argument {
                what: "data",
                expected: "auto, cifar10, cifar100 or embedded".to_string(),
                got: name.to_string(),
            }),
        }
    }
}

impl fmt::Display for CifarSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cifar(kind) => kind.name(),
            Self::Embedded => "embedded",
        })
    }
}

/// Which data set [`load`] reads, and from where.
#[derive(Clone, Debug)]
pub struct CifarRequest {
    /// Which data set.
    pub source: CifarSource,
    /// A directory of the official files or archives, or such an archive, instead of the hub.
    pub dir: Option<PathBuf>,
    /// What to generate if the data is generated.
    pub embedded: Embedded,
    /// Where to look for the hub's files.
    pub hub: Hub,
    /// Whether files from the hub that are not the original are an error.
    pub original: bool,
}

impl CifarRequest {
    /// A request with the environment's hub and the generator's defaults.
    pub fn new(source: CifarSource, dir: Option<PathBuf>) -> Self {
        Self { source, dir, embedded: Embedded::default(), hub: Hub::from_env(), original: true }
    }
}

/// Finds, downloads or generates the data set.
///
/// With a directory, its files. Without one, the hub's cache, then the hub. [`CifarSource::Auto`]
/// goes on to the generator where the hub cannot be reached, and says so in the note; a named data
/// set never becomes another. Files that are there and corrupt, or a directory without the files,
/// are errors in each case.
///
/// # Errors
/// As [`directory::load`] and [`Hub::files`]; those of [`hub::read`] as [`DataError::Cached`];
/// [`DataError::DirectoryUnused`] for a directory together with [`CifarSource::Embedded`].
pub fn load(request: &CifarRequest) -> Result<(Cifar, Provenance), DataError> {
    let kind = match request.source {
        CifarSource::Embedded => {
            return match &request.dir {
                Some(dir) => Err(DataError::DirectoryUnused { dir: dir.clone() }),
                None => Ok(generate(&request.embedded, None)),
            };
        }
        CifarSource::Cifar(kind) => kind,
        CifarSource::Auto => Kind::Cifar100,
    };
    if let Some(dir) = &request.dir {
        let directory::DirectoryData { cifar, place, note } = directory::load(kind, dir)?;
        let got = kind.describe(&cifar);
        let known = if got == kind.original() { Known::Original } else { Known::Other };
        let other = (known == Known::Other).then(|| {
            let (train, test) = (cifar.train.len(), cifar.test.len());
            format!(
                "{}: {train} + {test} images that are not the original {} ({got})",
                place.display(),
                kind.title()
            )
        });
        let notes: Vec<String> = other.into_iter().chain(note).collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        let content = cifar.content_hash();
        return Ok((
            cifar,
            Provenance {
                dataset: kind.name(),
                known,
                found: place.display().to_string(),
                note,
                content,
            },
        ));
    }
    let known = kind.repo();
    let repo = Repo { sha256: if request.original { known.sha256 } else { &[] }, ..known };
    let files = match request.hub.files(&repo) {
        Ok(files) => files,
        Err(e @ DataError::Unreachable { .. }) if request.source == CifarSource::Auto => {
            let note = format!(
                "{e}; using generated shapes instead, whose results are not {}'s",
                kind.title()
            );
            return Ok(generate(&request.embedded, Some(note)));
        }
        Err(e) => return Err(e),
    };
    let cifar = hub::read(kind, &files, request.original)
        .map_err(|e| request.hub.in_cache(repo.owner, repo.name, e))?;
    let content = cifar.content_hash();
    let known =
        if kind.describe(&cifar) == kind.original() { Known::Original } else { Known::Other };
    Ok((
        cifar,
        Provenance {
            dataset: kind.name(),
            known,
            found: files.train.display().to_string(),
            note: None,
            content,
        },
    ))
}

fn generate(what: &Embedded, note: Option<String>) -> (Cifar, Provenance) {
    let cifar = embedded::generate(what);
    let content = cifar.content_hash();
    let found = format!("generated: {} + {} shapes, seed {}", what.train, what.test, what.seed);
    let (dataset, known) = ("embedded", Known::Generated);
    (cifar, Provenance { dataset, known, found, note, content })
}
