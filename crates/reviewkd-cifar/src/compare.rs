//! `compare TEACHER STUDENT`: two networks on the test images.

use std::io::Write;

use candle_core::Device;
use kd_core::Result;
use kd_core::cli::{self, Application, Options};
use kd_core::compare::compare;
use kd_core::data::Normalisation;
use kd_core::frozen::Saved;

use crate::paper::ReviewKd;

/// Compares the networks that `teacher` and `student` name and prints what came out.
///
/// # Errors
/// Bad input when a name means neither a file nor a finished cell, or the file is no network.
pub fn run(
    paper: &ReviewKd,
    options: &Options,
    application: &Application,
    names: [&str; 2],
    normalisation: Normalisation,
    out: &mut dyn Write,
) -> Result<()> {
    let load = |name: &str| Saved::load(&cli::find_network(name, options, application)?, paper.device());
    let (a, b) = (load(names[0])?, load(names[1])?);
    let test = &paper.data()?.0.test;
    let inputs = normalisation.range_to_tensor(test, 0..test.len(), &Device::Cpu)?;
    let found = compare(&a, &b, &inputs, &test.labels, paper.device())?;
    cli::print_comparison(&found, names, out)
}
