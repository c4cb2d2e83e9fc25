//! `epochs.csv`: what each epoch of a training run came to, beside its cell's result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kd_base::atomic;

use super::EpochRecord;
use crate::{Error, Result};

/// Writes one line per epoch: `epoch,learning-rate,loss`, the raw value of each loss term and what
/// was measured at the epoch's end (empty where an epoch has none), `seconds`; behind `epoch`
/// stands `phase` where there are several. The last column is the only one that differs between two
/// runs of a cell.
///
/// # Errors
/// When the file cannot be written.
pub fn write_epochs(path: &Path, records: &[EpochRecord]) -> Result<()> {
    let fault = |e: csv::Error| Error::bad_input(format!("{}: {e}", path.display()));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let terms: BTreeSet<&String> = records.iter().flat_map(|r| r.terms.keys()).collect();
    let measured: BTreeSet<&String> = records.iter().flat_map(|r| r.measured.keys()).collect();
    let phases = records.iter().any(|r| r.phase > 1);
    let head =
        ["epoch"].into_iter().chain(phases.then_some("phase")).chain(["learning-rate", "loss"]);
    let named = terms.iter().chain(&measured).map(|name| name.as_str());
    writer.write_record(head.chain(named).chain(["seconds"])).map_err(fault)?;
    for r in records {
        let value = |known: &BTreeMap<String, f64>, name: &str| {
            known.get(name).map(f64::to_string).unwrap_or_default()
        };
        let head = [r.epoch.to_string()].into_iter().chain(phases.then(|| r.phase.to_string()));
        let numbers = [r.learning_rate, r.loss].map(|v| v.to_string());
        let terms = terms.iter().map(|name| value(&r.terms, name));
        let measured = measured.iter().map(|name| value(&r.measured, name));
        writer
            .write_record(
                head.chain(numbers)
                    .chain(terms)
                    .chain(measured)
                    .chain([format!("{:.3}", r.seconds)]),
            )
            .map_err(fault)?;
    }
    let bytes =
        writer.into_inner().map_err(|e| Error::bad_input(format!("{}: {e}", path.display())))?;
    atomic::write(path, &bytes)?;
    Ok(())
}
