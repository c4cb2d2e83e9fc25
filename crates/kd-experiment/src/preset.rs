//! The three budgets of an experiment, and values that depend on them.

use std::fmt;
use std::str::FromStr;

use kd_base::nearest;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use toml::Value;

/// How much is spent on a table. A preset is no part of a cell's identity: the numbers that it
/// resolves to are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Minutes on two cores.
    Quick,
    /// The same claims on real data, within hours on two cores.
    Laptop,
    /// As published.
    Paper,
}

impl Preset {
    /// All presets, cheapest first.
    pub const ALL: [Preset; 3] = [Preset::Quick, Preset::Laptop, Preset::Paper];

    /// The name in files, options and paths.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Quick => "quick",
            Preset::Laptop => "laptop",
            Preset::Paper => "paper",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Preset::ALL.into_iter().find(|preset| preset.name() == text);
        found.ok_or_else(|| {
            format!("no preset `{text}`{}", nearest::hint(text, Preset::ALL.map(Preset::name)))
        })
    }
}

/// A value for each preset.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerPreset<T> {
    /// At [`Preset::Quick`].
    pub quick: T,
    /// At [`Preset::Laptop`].
    pub laptop: T,
    /// At [`Preset::Paper`].
    pub paper: T,
}

impl<T> PerPreset<T> {
    /// Computes the value of each preset in turn; the first error ends it.
    pub fn build<E>(mut make: impl FnMut(Preset) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            quick: make(Preset::Quick)?,
            laptop: make(Preset::Laptop)?,
            paper: make(Preset::Paper)?,
        })
    }

    /// The value at `preset`.
    pub fn at(&self, preset: Preset) -> &T {
        match preset {
            Preset::Quick => &self.quick,
            Preset::Laptop => &self.laptop,
            Preset::Paper => &self.paper,
        }
    }

    /// The value at a preset, to be changed.
    pub fn at_mut(&mut self, preset: Preset) -> &mut T {
        match preset {
            Preset::Quick => &mut self.quick,
            Preset::Laptop => &mut self.laptop,
            Preset::Paper => &mut self.paper,
        }
    }
}

/// A value, or a table of one value for each preset.
pub(crate) struct OneOrEach<T>(pub PerPreset<T>);

impl<'de, T: DeserializeOwned + Clone> Deserialize<'de> for OneOrEach<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = match Value::deserialize(deserializer)? {
            table @ Value::Table(_) => table.try_into(),
            one => one.try_into().map(|one: T| PerPreset {
                quick: one.clone(),
                laptop: one.clone(),
                paper: one,
            }),
        };
        values.map(Self).map_err(|error| D::Error::custom(error.message()))
    }
}
