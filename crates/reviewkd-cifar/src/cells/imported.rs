//! `imported`: a network that somebody else trained, read from its file and measured.
//!
//! Metrics: `test-accuracy` and `train-accuracy`, in percent, over all test images and all training
//! images, not augmented, and `parameters`. A cell with images to validate on has
//! `validation-accuracy` on them and their number, `validation-images`, in the place of the two.

use std::path::Path;

use kd_core::data::{LabelledImages, TrainedOn};
use kd_core::exchange::{self, Imported};
use kd_core::frozen::Frozen;
use kd_core::params::is_buffer;
use kd_core::train::checkpoint;
use kd_core::{Error, Result};
use kd_experiment::CellResult;
use kd_experiment::cli::remark;
use kd_paper::validation;

use super::{Work, accuracy};
use crate::spec::ImportedCell;

const ACCURACIES: [&str; 2] = ["test-accuracy", "train-accuracy"];
const PARAMETERS: &str = "parameters";

/// The names of the metrics of `cell`.
pub fn metrics(cell: &ImportedCell) -> Vec<&'static str> {
    let measured = if cell.validation.is_some() { validation::METRICS } else { ACCURACIES };
    measured.into_iter().chain([PARAMETERS]).collect()
}

/// Measures the network in `file` and leaves it in the cell's folder.
///
/// # Errors
/// Bad input when there is no file, its content is not what the cell names, or it holds another
/// network, or one of other classes than the data's.
pub fn run(cell: &ImportedCell, file: Option<&Path>, work: &Work) -> Result<CellResult> {
    let network = &cell.network;
    let file = file.ok_or_else(|| {
        let digits = cell.sha256.get(..8).unwrap_or(&cell.sha256);
        Error::bad_input(format!("teacher: the file of {network} (SHA-256 {digits}...) is not given; add --teacher {network}=FILE"))
    })?;
    let found = kd_base::file_hash::sha256(file)?;
    if found != cell.sha256 {
        return Err(Error::bad_input(format!(
            "{}: expected a file with SHA-256 {}, got {found}",
            file.display(),
            cell.sha256
        )));
    }
    let spec = exchange::recognise(file, Some(network))?;
    work.data.check_classes(file, spec.classes())?;
    let classes = checkpoint::trained_on(file)?.map(|known| known.classes).unwrap_or_default();
    check_names(file, &classes, &work.data.classes)?;
    let Imported { tensors, notes, .. } = exchange::import(file, &spec)?;
    for note in notes {
        remark(format_args!("{}: {note}", file.display()));
    }
    let parameters = tensors
        .iter()
        .filter(|(name, _)| !is_buffer(name))
        .map(|(_, t)| t.elem_count())
        .sum::<usize>();
    let frozen = Frozen::build(tensors.clone(), work.context.device, |vb| spec.build(vb))?;
    let accuracy = |images: &LabelledImages| {
        accuracy(&**frozen.model(), images, images.len(), cell.normalisation, work.context.device)
    };
    let mut result = CellResult::of([PARAMETERS], [parameters as f64]);
    if let Some(part) = &cell.validation {
        remark(format_args!(
            "{}: the network may have been trained on the images that are held out, and pass on what it knows of them",
            file.display()
        ));
        let train = &work.data.train;
        let held_out = train.subset(&part.split(&train.labels)?.held_out)?;
        result.metrics.extend(validation::metrics(accuracy(&held_out)?, held_out.len()));
    } else {
        let numbers = [accuracy(&work.data.test)?, accuracy(&work.data.train)?];
        result.metrics.extend(CellResult::of(ACCURACIES, numbers).metrics);
    }
    let known = TrainedOn { data: None, normalisation: cell.normalisation, classes };
    checkpoint::save_trained(&work.context.network(), &tensors, &spec, &known)?;
    Ok(result)
}

/// Fails where network and data both name their classes, and a number means another class to the
/// one than to the other.
fn check_names(file: &Path, network: &[String], data: &[String]) -> Result<()> {
    match network.iter().zip(data).position(|(a, b)| a != b) {
        Some(i) => Err(Error::bad_input(format!(
            "{}: expected class {i} to be {}, as in the data, got {}",
            file.display(),
            data[i],
            network[i]
        ))),
        None => Ok(()),
    }
}
