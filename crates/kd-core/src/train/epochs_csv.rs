//! `epochs.csv`: what each epoch of a training run came to, beside its cell's result.

use std::path::Path;

use super::EpochRecord;
use crate::run::atomic;
use crate::{Error, Result};

/// Writes one line per epoch: `epoch,learning-rate,loss`, the raw value of each loss term, what was
/// measured at the epoch's end (empty where it was not), `seconds`. The last column is the only one that
/// differs between two runs of a cell.
///
/// # Errors
/// When the file cannot be written.
pub fn write_epochs(path: &Path, records: &[EpochRecord]) -> Result<()> {
    let fault = |e: csv::Error| Error::bad_input(format!("{}: {e}", path.display()));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let terms: Vec<String> = records.first().map(|r| r.terms.keys().cloned().collect()).unwrap_or_default();
    let mut measured: Vec<String> = records.iter().flat_map(|r| r.measured.keys().cloned()).collect();
    measured.sort();
    measured.dedup();
    let head = ["epoch", "learning-rate", "loss"].into_iter().map(str::to_owned).chain(terms.iter().chain(&measured).cloned());
    writer.write_record(head.chain(["seconds".to_owned()])).map_err(fault)?;
    for r in records {
        let numbers = [r.learning_rate, r.loss].into_iter().chain(terms.iter().map(|t| r.terms.get(t).copied().unwrap_or(f64::NAN)));
        let measured = measured.iter().map(|name| r.measured.get(name).map(f64::to_string).unwrap_or_default());
        let line = [r.epoch.to_string()].into_iter().chain(numbers.map(|v| v.to_string())).chain(measured);
        writer.write_record(line.chain([format!("{:.3}", r.seconds)])).map_err(fault)?;
    }
    let bytes = writer.into_inner().map_err(|e| Error::bad_input(format!("{}: {e}", path.display())))?;
    atomic::write(path, &bytes)?;
    Ok(())
}
