//! The small files of a table's cells, kept beside the table: `cells/<cell>/` with the spec, the
//! result and the curves, without the networks. They are what a table was derived from, so that
//! each number can be followed to the settings and the epochs behind it where the run store is not
//! at hand. Copied into a run store they give the same table again.

use std::fs;
use std::path::{Path, PathBuf};

use kd_base::atomic;

use crate::error::{Error, Result};
use crate::store::{RESULT, SPEC};
use crate::table::Table;

/// The folder of the cells in a folder of tables.
pub const CELLS: &str = "cells";

/// The folder of a cell beside the tables in `tables`, whether it is there or not.
pub fn dir(tables: &Path, cell: &str) -> PathBuf {
    tables.join(CELLS).join(cell)
}

/// Keeps the small files of all finished cells of a table in `tables`, the folder of the table's
/// CSV: `spec.toml`, the tables of the cell (`.csv`) and last `result.json`. Files that are there
/// with the same content are left alone.
///
/// # Errors
/// A file that cannot be read or written.
pub fn keep(table: &Table, tables: &Path) -> Result<()> {
    for (id, finished) in &table.cells {
        let to = dir(tables, id.as_str());
        atomic::create_dir(&to)?;
        for name in small_files(&finished.dir)? {
            let from = finished.dir.join(&name);
            let bytes = fs::read(&from).map_err(Error::io("read", &from))?;
            atomic::write_if_changed(&to.join(&name), &bytes)?;
        }
    }
    Ok(())
}

/// The names of a cell's small files, its result last: a folder that lacks it is not finished.
fn small_files(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let name = entry.map_err(Error::io("read", dir))?.file_name();
        names.extend(name.to_str().filter(|name| name.ends_with(".csv")).map(str::to_owned));
    }
    names.sort();
    names.insert(0, SPEC.to_owned());
    names.push(RESULT.to_owned());
    Ok(names)
}
