//! `compare TEACHER STUDENT`: two networks on the test images.

use std::io::Write;
use std::path::PathBuf;

use candle_core::Device;
use kd_core::cli::{self, Application, Options};
use kd_core::compare::{Comparison, LATENCY_BATCH, Report, compare};
use kd_core::frozen::Saved;
use kd_core::{Error, Result};

use crate::cells::NETWORK;
use crate::paper::HintonMnist;

/// Compares the networks that `teacher` and `student` name and prints what came out.
///
/// # Errors
/// Bad input when a name means neither a file nor a finished cell, or the file is no network.
pub fn run(
    paper: &HintonMnist,
    options: &Options,
    application: &Application,
    teacher: &str,
    student: &str,
    out: &mut dyn Write,
) -> Result<()> {
    let load = |name: &str| Saved::load(&find(name, options, application)?, paper.device());
    let (a, b) = (load(teacher)?, load(student)?);
    let test = &paper.data()?.0.test;
    let found = compare(&a, &b, &test.to_tensor(&Device::Cpu)?, &test.labels, paper.device())?;
    print(&found, [teacher, student], out).map_err(|e| Error::io("standard output", e))
}

/// A file as it is; otherwise `TABLE/ROW[#SEED]`, the cell of that row at the chosen preset.
fn find(name: &str, options: &Options, application: &Application) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.is_dir() {
        return Ok(path.join(NETWORK));
    }
    if path.exists() || name.ends_with(".safetensors") {
        return Ok(path);
    }
    Ok(cli::finished_cell(name, options, application)?.join(NETWORK))
}

fn print(found: &Comparison, names: [&str; 2], out: &mut dyn Write) -> std::io::Result<()> {
    let [a, b] = [&found.teacher, &found.student];
    let mut line = |what: &str, value: &dyn Fn(&Report) -> String| writeln!(out, "{what:<28}{:>16}{:>16}", value(a), value(b));
    line("test errors", &|r| r.errors.total().to_string())?;
    line("accuracy, %", &|r| format!("{:.2}", 100. * (1. - r.errors.total() as f64 / r.errors.of as f64)))?;
    for class in 0..a.errors.per_class.len().min(b.errors.per_class.len()) {
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
