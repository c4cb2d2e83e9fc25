//! Finished cells, as others find them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cell::Cell;
use crate::error::{Error, Result};
use crate::result::CellResult;

/// A finished cell that another one needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The cell.
    pub cell: Cell,
    /// Its folder: checkpoints stand there.
    pub dir: PathBuf,
    /// Its result.
    pub result: CellResult,
}

/// The finished cells that a cell needs, by role.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needed {
    roles: BTreeMap<String, Vec<Finished>>,
}

impl Needed {
    /// The cells of a role, in the order of their seeds; empty where the experiment file names
    /// none.
    pub fn all(&self, role: &str) -> &[Finished] {
        self.roles.get(role).map_or(&[], Vec::as_slice)
    }

    /// The one cell of a role; an error where the experiment file names none or several.
    pub fn one(&self, role: &str) -> Result<&Finished> {
        match self.all(role) {
            [one] => Ok(one),
            several => Err(Error::bad_input(format!(
                "needs.{role}: expected one cell, got {}",
                several.len()
            ))),
        }
    }
}

impl FromIterator<(String, Vec<Finished>)> for Needed {
    fn from_iter<I: IntoIterator<Item = (String, Vec<Finished>)>>(roles: I) -> Self {
        Self { roles: roles.into_iter().collect() }
    }
}
