//! The curves of the report's cells as event files for TensorBoard: one run for each cell of each
//! table, in a folder with the table's place and the row's name.

use std::fs;
use std::path::{Path, PathBuf};

use kd_base::atomic;
use kd_base::message::count;
use syntaxdot_summary::SummaryWriter;

use super::super::epochs;
use super::found::PaperResults;
use crate::error::{Error, Result};

/// Writes `to/<paper>/<data>-<preset>/<table>/<row>-<cell>/events.out.tfevents.<cell>` for each cell
/// whose epochs are at hand, and says how many there are. A column of `epochs.csv` is a scalar of
/// that name, an epoch a step, counted from 1 through all phases. The wall time of a point is that
/// of writing.
///
/// # Errors
/// Bad input where `to` holds something already and `force` is off, or cannot be written.
pub(super) fn write(papers: &[PaperResults], to: &Path, force: bool) -> Result<String> {
    if !force && fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::bad_input(format!(
            "{}: expected no folder or an empty one, got one with files; --force writes into it",
            to.display()
        )));
    }
    let mut runs = 0;
    for paper in papers {
        for (experiment, derived) in &paper.tables {
            for table in derived {
                let folder = to
                    .join(plain(&paper.name))
                    .join(plain(&format!("{}-{}", table.dataset, table.preset)))
                    .join(plain(&experiment.name));
                // Lines of several metrics name the same cells.
                let mut written: Vec<PathBuf> = Vec::new();
                for line in &table.lines {
                    let keys =
                        table.keys.iter().map(|key| line.field(key)).filter(|v| !v.is_empty());
                    let row: Vec<&str> = std::iter::once(line.field("row")).chain(keys).collect();
                    for id in &line.cells {
                        let Some(cell) = paper.cells.get(id).filter(|c| !c.epochs.is_empty())
                        else {
                            continue;
                        };
                        let run = folder.join(plain(&format!("{}-{id}", row.join("-"))));
                        if written.contains(&run) {
                            continue;
                        }
                        atomic::create_dir(&run)?;
                        let file = run.join(format!("events.out.tfevents.{id}"));
                        let bytes = events(&cell.epochs).map_err(Error::io("write", &file))?;
                        atomic::write(&file, &bytes)?;
                        written.push(run);
                    }
                }
                runs += written.len();
            }
        }
    }
    Ok(format!("-> {} ({} with epochs)", to.display(), count(runs, "run")))
}

/// A table of epochs as an event file.
fn events(table: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = SummaryWriter::new(&mut bytes)?;
    for curve in epochs::curves(table) {
        for (row, value) in &curve.points {
            writer.write_scalar(curve.name.as_str(), *row as i64 + 1, *value as f32)?;
        }
    }
    Ok(bytes)
}

/// A name as one part of a path: a grid's value may have a slash.
fn plain(name: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payloads of an event file, by the lengths in it.
    fn payloads(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().expect("a length")) as usize;
            found.push(&bytes[12..12 + length]);
            bytes = &bytes[16 + length..];
        }
        found
    }

    #[test]
    fn each_number_of_a_table_of_epochs_is_an_event_with_its_column_and_its_value() {
        let bytes = events("epoch,loss,test-accuracy\n1,4,10.5\n2,2.5,\n").expect("events");
        let found = payloads(&bytes);
        // The first says the version of the format.
        assert_eq!(found.len(), 1 + 3);
        let has = |event: &[u8], name: &str, value: f32| {
            let holds = |part: &[u8]| event.windows(part.len()).any(|window| window == part);
            holds(name.as_bytes()) && holds(&value.to_le_bytes())
        };
        assert!(has(found[1], "loss", 4.0) && has(found[2], "loss", 2.5));
        assert!(has(found[3], "test-accuracy", 10.5));
    }

    #[test]
    fn names_are_one_part_of_a_path() {
        assert_eq!(plain("pair-1/2-ü"), "pair-1_2-ü");
    }
}
