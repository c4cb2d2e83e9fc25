//! `compare TEACHER STUDENT`: which files the names mean, and how the comparison is printed.

use std::io::Write;
use std::path::PathBuf;

use super::{Application, Options, finished_cell};
use crate::compare::{Comparison, LATENCY_BATCH, Report};
use crate::frozen::NETWORK;
use crate::{Error, Result};

/// The file of a saved network: a file as it is, a cell's folder, or `TABLE/ROW[#SEED]`, the cell of that row at the chosen preset.
///
/// # Errors
/// Bad input when the name means none of these, or the cell is not finished.
pub fn find_network(name: &str, options: &Options, application: &Application) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.is_dir() {
        return Ok(path.join(NETWORK));
    }
    if path.exists() || name.ends_with(".safetensors") {
        return Ok(path);
    }
    Ok(finished_cell(name, options, application)?.join(NETWORK))
}

/// Prints two networks side by side; `names` are what the user called them.
///
/// # Errors
/// When `out` cannot be written to.
pub fn print_comparison(found: &Comparison, names: [&str; 2], out: &mut dyn Write) -> Result<()> {
    lines(found, names, out).map_err(|e| Error::io("standard output", e))
}

/// More classes than these are not listed one by one.
const CLASSES_LISTED: usize = 20;

fn lines(found: &Comparison, names: [&str; 2], out: &mut dyn Write) -> std::io::Result<()> {
    let [a, b] = [&found.teacher, &found.student];
    let mut line = |what: &str, value: &dyn Fn(&Report) -> String| writeln!(out, "{what:<28}{:>16}{:>16}", value(a), value(b));
    line("test errors", &|r| r.errors.total().to_string())?;
    line("accuracy, %", &|r| format!("{:.2}", 100. * (1. - r.errors.total() as f64 / r.errors.of as f64)))?;
    let classes = a.errors.per_class.len().min(b.errors.per_class.len());
    for class in (0..classes).filter(|_| classes <= CLASSES_LISTED) {
        line(&format!("  errors on {class}"), &|r| r.errors.per_class[class].to_string())?;
    }
    line("calibration error, %", &|r| format!("{:.2}", 100. * r.calibration_error))?;
    line("parameters", &|r| r.parameters.to_string())?;
    line("multiply-adds", &|r| r.multiply_adds.to_string())?;
    line("latency of 1 image, ms", &|r| format!("{:.3}", r.latency_one_ms))?;
    line(&format!("latency of {LATENCY_BATCH} images, ms"), &|r| format!("{:.3}", r.latency_batch_ms))?;
    writeln!(out, "teacher: {}\nstudent: {}", names[0], names[1])?;
    writeln!(out, "they name the same class for {:.2} % of the images", 100. * found.agreement)
}
