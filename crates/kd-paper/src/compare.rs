//! `compare TEACHER STUDENT`: two networks on the test images.

use std::io::Write;
use std::path::PathBuf;

use candle_core::Tensor;
use kd_core::compare::{Comparison, LATENCY_BATCH, Report};
use kd_core::frozen::{NETWORK, Saved};
use kd_experiment::cli::{self, Application, Measure};
use kd_experiment::{Paper, Result};

use crate::Machine;

/// More classes than these are not listed one by one.
const CLASSES_LISTED: usize = 20;

/// The file of the network that `name` means: a file, a cell's folder, or `TABLE/ROW[#SEED]` of a
/// finished cell at the chosen preset.
///
/// # Errors
/// Bad input when the name means none of these, or the cell is not finished.
pub fn find_network<P: Paper>(name: &str, application: &Application<P>) -> Result<PathBuf> {
    cli::find_network(name, NETWORK, application)
}

/// Compares the networks that two names mean on labelled test inputs and prints what came out.
/// `test` is asked for once both networks are there.
///
/// # Errors
/// Bad input when a name means neither a file nor a finished cell, or the file is no network.
pub fn compare<P: Paper>(
    names: [&str; 2],
    application: &Application<P>,
    machine: &Machine,
    test: impl FnOnce() -> Result<(Tensor, Vec<u8>)>,
    out: &mut dyn Write,
) -> Result<()> {
    let load = |name: &str| -> Result<Saved> {
        Ok(Saved::load(&find_network(name, application)?, &machine.device)?)
    };
    let (teacher, student) = (load(names[0])?, load(names[1])?);
    let (inputs, labels) = test()?;
    let found = kd_core::compare::compare(&teacher, &student, &inputs, &labels, &machine.device)?;
    cli::print_comparison(&measures(&found), found.agreement, names, out)
}

/// What was measured, in the order in which it is printed.
fn measures(found: &Comparison) -> Vec<Measure> {
    let [a, b] = [&found.teacher, &found.student];
    let measure = |name: &str, digits: usize, value: &dyn Fn(&Report) -> f64| Measure {
        name: name.to_owned(),
        values: [value(a), value(b)],
        digits,
    };
    let mut all = vec![
        measure("test errors", 0, &|r| r.errors.total() as f64),
        measure("accuracy, %", 2, &|r| 100. * (1. - r.errors.total() as f64 / r.errors.of as f64)),
    ];
    let classes = a.errors.per_class.len().min(b.errors.per_class.len());
    for class in (0..classes).filter(|_| classes <= CLASSES_LISTED) {
        all.push(measure(&format!("  errors on {class}"), 0, &|r| {
            r.errors.per_class[class] as f64
        }));
    }
    all.extend([
        measure("calibration error, %", 2, &|r| 100. * r.calibration_error),
        measure("parameters", 0, &|r| r.parameters as f64),
        measure("multiply-adds", 0, &|r| r.multiply_adds as f64),
        measure("latency of 1 image, ms", 3, &|r| r.latency_one_ms),
        measure(&format!("latency of {LATENCY_BATCH} images, ms"), 3, &|r| r.latency_batch_ms),
    ]);
    all
}
