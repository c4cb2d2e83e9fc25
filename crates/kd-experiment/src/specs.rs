//! The specs of a plan's cells, read once.

use std::collections::BTreeMap;

use crate::cell::{Cell, CellId};

/// A cell with its spec, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<'a, S> {
    /// The cell.
    pub cell: &'a Cell,
    /// What its spec says.
    pub spec: S,
}

/// Cells with their specs, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Specs<'a, S>(BTreeMap<&'a CellId, Parsed<'a, S>>);

impl<S> Default for Specs<'_, S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'a, S> Specs<'a, S> {
    /// The cell with this name, if its spec was read.
    pub fn get(&self, id: &CellId) -> Option<&Parsed<'a, S>> {
        self.0.get(id)
    }

    /// Adds a cell.
    pub fn insert(&mut self, cell: &'a Cell, spec: S) {
        self.0.insert(&cell.id, Parsed { cell, spec });
    }
}
