//! A network in a file, as the command line names it: `FILE`, `NETWORK=FILE` or
//! `NETWORK:NORMALISATION=FILE`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use kd_core::data::{Normalisation, TrainedOn};
use kd_core::exchange;
use kd_core::model::NetworkSpec;
use kd_core::train::checkpoint;
use kd_core::{Error, Result};

/// What the command line says of a network's file.
#[derive(Clone, Debug)]
pub struct NetworkFile {
    /// The network's usual name, where it is given.
    network: Option<String>,
    /// The file.
    file: PathBuf,
    /// The normalisation that it was trained with, where it is given.
    normalisation: Option<Normalisation>,
}

/// A network's file and what is known of it.
pub struct KnownNetwork {
    /// The file.
    pub file: PathBuf,
    /// The network in it.
    pub spec: NetworkSpec,
    /// The normalisation that it was trained with: what the file says, else what the command line
    /// says, else `crd`, with which most published checkpoints of CIFAR-100 were trained.
    pub normalisation: Normalisation,
    /// What the file says.
    pub trained_on: Option<TrainedOn>,
}

impl FromStr for NetworkFile {
    type Err = String;

    /// Reads `FILE`, or `NETWORK=FILE`, or `NETWORK:NORMALISATION=FILE`. A file with `=` in its path
    /// has to be there, or to stand after a network.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let whole = || Self { network: None, file: text.into(), normalisation: None };
        let Some((name, file)) = text.split_once('=') else { return Ok(whole()) };
        if Path::new(text).exists() {
            return Ok(whole());
        }
        let (network, normalisation) = match name.split_once(':') {
            Some((network, normalisation)) => {
                (network, Some(crate::normalisation::parse(normalisation)?))
            }
            None => (name, None),
        };
        let network = NetworkSpec::from_name(network, 2).map_err(|e| e.to_string())?.name();
        Ok(Self { network: Some(network), file: file.into(), normalisation })
    }
}

impl NetworkFile {
    /// The path, where nothing but a path was given.
    pub fn bare(&self) -> Option<&Path> {
        self.network.is_none().then_some(&self.file)
    }

    /// The same with another path.
    pub fn at(self, file: PathBuf) -> Self {
        Self { file, ..self }
    }

    /// Reads which network the file holds and what it was trained on.
    ///
    /// # Errors
    /// Bad input when the file is no checkpoint, is of another network than the one given, or of
    /// none that is known, or says another normalisation than the one given.
    pub fn identify(&self) -> Result<KnownNetwork> {
        let spec = exchange::recognise(&self.file, self.network.as_deref())?;
        let trained_on = checkpoint::trained_on(&self.file)?;
        let said = trained_on.as_ref().map(|known| known.normalisation);
        if let (Some(said), Some(given)) = (said, self.normalisation)
            && said != given
        {
            return Err(Error::bad_input(format!(
                "{}: expected a network trained with normalisation {}, got one trained with {}",
                self.file.display(),
                given.name(),
                said.name()
            )));
        }
        let normalisation = said.or(self.normalisation).unwrap_or(Normalisation::Crd);
        Ok(KnownNetwork { file: self.file.clone(), spec, normalisation, trained_on })
    }
}
