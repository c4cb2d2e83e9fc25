//! `compare TEACHER STUDENT`: two networks on the test images.

use std::io::Write;

use candle_core::Device;
use kd_core::Result;
use kd_core::cli::{self, Application, Options};
use kd_core::compare::compare;
use kd_core::frozen::Saved;

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
    let load = |name: &str| Saved::load(&cli::find_network(name, options, application)?, paper.device());
    let (a, b) = (load(teacher)?, load(student)?);
    let test = &paper.data()?.0.test;
    let found = compare(&a, &b, &test.to_tensor(&Device::Cpu)?, &test.labels, paper.device())?;
    cli::print_comparison(&found, [teacher, student], out)
}
