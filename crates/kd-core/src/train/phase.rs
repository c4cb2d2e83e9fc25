//! Phases of a run: first another loss, or other parameters.

use serde::{Deserialize, Serialize};

use super::TrainSpec;
use crate::method::{MethodSpec, PREFIX, Recipe};
use crate::{Error, Result};

/// Which parameters a phase trains, as an experiment file writes it: `"all"`, `"method"`, or `{
/// only = ["layer1.", "method.connector"] }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trains {
    /// The student's and the method's. One that the loss does not depend on gets no gradient, and
    /// stays as it is.
    #[default]
    All,
    /// The method's alone.
    Method,
    /// Those whose names begin with one of these.
    Only(Vec<String>),
}

impl Trains {
    /// Whether the parameter of this name trains.
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Method => name.starts_with(PREFIX),
            Self::Only(prefixes) => prefixes.iter().any(|prefix| name.starts_with(prefix)),
        }
    }
}

/// One phase, as an experiment file writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Phase {
    /// How the loss is made.
    pub method: MethodSpec,
    /// Which parameters train.
    #[serde(default)]
    pub trains: Trains,
    /// The recipe.
    pub train: TrainSpec,
}

impl Phase {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names what is wrong.
    pub fn check(&self) -> Result<()> {
        self.method.check()?;
        self.train.check()?;
        if self.trains == Trains::Only(Vec::new()) {
            return Err(Error::bad_input("trains: expected a prefix of names at least, got none"));
        }
        Ok(())
    }
}
