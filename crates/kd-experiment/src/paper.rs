//! What a paper brings to its experiments: the meaning of its cells.

use std::path::{Path, PathBuf};

use crate::cell::Cell;
use crate::data::DataIdentity;
use crate::error::{Error, Result};
use crate::finished::Needed;
use crate::needs::Needs;
use crate::progress::Progress;
use crate::result::CellResult;
use crate::store::CellDir;
use crate::table::Table;

/// What a paper brings: the meaning of its cells.
pub trait Paper: Sync {
    /// What a cell's spec says, read and checked once and handed to everything that concerns the
    /// cell.
    type Spec: Send + Sync;

    /// The name of its experiments, runs and results folders: the crate's name.
    fn name(&self) -> &'static str;

    /// The data set, found, downloaded or generated at the first call. Asked for by commands that
    /// need it.
    fn identity(&self) -> Result<DataIdentity>;

    /// Reads kind and spec strictly, for instance through [`Cell::spec_as`]; called once for every
    /// cell, before any is run.
    fn read(&self, cell: &Cell) -> Result<Self::Spec>;

    /// Checks what the cell needs, for instance through [`Needs::expect`]; called for every cell
    /// before any is run.
    fn check(&self, spec: &Self::Spec, needs: &Needs<Self::Spec>) -> Result<()>;

    /// The names of the numbers that a cell's result may have, for tables to be checked before
    /// anything is computed; none where nobody knows: a misspelt metric is then found when the
    /// table is written.
    fn metrics(
        &self,
        _spec: &Self::Spec,
        _needs: &Needs<Self::Spec>,
    ) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    /// Computes a cell. Its folder may hold what an earlier, killed attempt left: the cell
    /// continues from there, to the same numbers.
    fn run(&self, spec: &Self::Spec, job: &Job) -> Result<CellResult>;

    /// Estimated seconds for a cell, for listings; none where nobody knows.
    fn cost(&self, _spec: &Self::Spec) -> Option<f64> {
        None
    }

    /// Whether cells of this kind can hold training images out, so that settings may be chosen on
    /// them: where its spec has `validation = { share, seed }`
    /// ([`sweep::VALIDATION`](crate::sweep::VALIDATION)), a cell is trained without this share of the
    /// training images, the same for all cells of the paper that have the same part, and its result
    /// has the metrics [`sweep::ACCURACY`](crate::sweep::ACCURACY) on these and
    /// [`sweep::IMAGES`](crate::sweep::IMAGES), and none of the test images, which are not looked at.
    fn holds_out(&self, _kind: &str) -> bool {
        false
    }

    /// The epochs of a cell, all phases together; none for a kind that has none.
    fn epochs(&self, _spec: &Self::Spec) -> Option<usize> {
        None
    }

    /// The spec of a cell in a `share` of its epochs, above 0 and below 1, with all that counts
    /// epochs scaled; for kinds that have [`epochs`](Self::epochs).
    ///
    /// # Errors
    /// Bad input for a spec that has no recipe.
    fn shortened(&self, _spec: &toml::Table, _share: f64) -> Result<toml::Table> {
        Err(Error::bad_input(format!("cells of {} cannot be shortened", self.name())))
    }

    /// Writes further files of a table, its curves and pictures, into `out_dir`, and returns their
    /// paths. A pure function of the table: the same bytes each time, written with
    /// [`atomic::write_if_changed`](kd_base::atomic::write_if_changed).
    fn decorate(&self, _table: &Table, _out_dir: &Path) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

/// A cell that is to be computed, and what is there for it.
pub struct Job<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// Its folder, held by this process.
    pub dir: &'a CellDir,
    /// The finished cells that it needs.
    pub needed: &'a Needed,
    /// Who is told how far it has come.
    pub progress: &'a dyn Progress,
}
