//! `compare TEACHER STUDENT`: two networks on the test images.

use std::io::Write;
use std::path::Path;

use candle_core::Device;
use kd_core::data::Normalisation;
use kd_core::model::NetworkSpec;
use kd_core::train::checkpoint;
use kd_core::{Error, Result};
use kd_experiment::cli::Application;
use kd_paper::compare::{compare, find_network};

use crate::normalisation;
use crate::paper::ReviewKd;

/// The arguments of `compare`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A network's file, or TABLE/ROW[#SEED] of a finished cell at this preset
    teacher: String,
    /// Likewise
    student: String,
    /// The normalisation that both were trained with, reviewkd or crd [default: the one that the
    /// files say, reviewkd where they don't]
    #[arg(long, value_parser = normalisation::parse)]
    normalisation: Option<Normalisation>,
}

/// Compares the networks and prints what came out.
///
/// # Errors
/// Bad input when a name means no network, a network is of other classes than the data's, or the
/// files say two normalisations and none is given.
pub fn run(
    arguments: &Arguments,
    application: &Application<ReviewKd>,
    out: &mut dyn Write,
) -> kd_experiment::Result<()> {
    let names = [&*arguments.teacher, &*arguments.student];
    let files = [find_network(names[0], application)?, find_network(names[1], application)?];
    let specs = files.each_ref().map(|file| checkpoint::description::<NetworkSpec>(file));
    let normalisation = match arguments.normalisation {
        Some(given) => given,
        None => common([&files[0], &files[1]])?,
    };
    let paper = application.paper;
    let images = &paper.data()?.0;
    for (file, spec) in files.iter().zip(specs) {
        images.check_classes(file, spec?.classes())?;
    }
    let test = || {
        let test = &images.test;
        let inputs = normalisation.range_to_tensor(test, 0..test.len(), &Device::Cpu)?;
        Ok((inputs, test.labels.clone()))
    };
    compare(names, application, paper.machine(), test, out)
}

/// The normalisation of both files.
fn common(files: [&Path; 2]) -> Result<Normalisation> {
    let said = |file| -> Result<Option<Normalisation>> {
        Ok(checkpoint::trained_on(file)?.map(|known| known.normalisation))
    };
    match (said(files[0])?, said(files[1])?) {
        (Some(a), Some(b)) if a != b => Err(Error::bad_input(format!(
            "{}: expected a network trained with normalisation {}, as {}, got {}; --normalisation says which to use for both",
            files[1].display(),
            a.name(),
            files[0].display(),
            b.name()
        ))),
        (a, b) => Ok(a.or(b).unwrap_or(Normalisation::Reviewkd)),
    }
}
