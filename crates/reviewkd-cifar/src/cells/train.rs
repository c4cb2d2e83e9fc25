//! `train`: one network, with or without a teacher.
//!
//! Metrics, in percent, of images that are not augmented: `test-accuracy`, over all test images,
//! and `train-accuracy`, over the images trained on, after the last epoch, and
//! `best-test-accuracy`, of the epoch with the best test accuracy: it is selected on the test set,
//! as the paper's numbers are, and stands beside the first for that alone. `parameters` of the
//! network that is deployed, with what a method adds to it, and `adapter-parameters` of the method,
//! which are dropped after training;
//! `step-milliseconds`, the time of a training step, which differs from run to run. The series
//! `epochs` has the loss and the test accuracy of each epoch. A cell with images to validate on has
//! `validation-accuracy` on them, after the last epoch, and their number, `validation-images`, in
//! the place of all that is of the test images, which it does not look at.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use kd_core::Result;
use kd_core::data::{NormalisedExamples, TrainedOn, Views};
use kd_core::frozen::{NETWORK, Saved};
use kd_core::method::PREFIX;
use kd_core::params::{Params, is_buffer};
use kd_core::train::{EpochRecord, Phases, checkpoint, write_epochs};
use kd_experiment::{CellResult, Series};
use kd_paper::validation;

use super::selection::select;
use super::{Work, accuracy};
use crate::spec::{TeacherStatistics, TrainCell};

/// The metrics that every cell has.
const METRICS: [&str; 4] =
    ["train-accuracy", "parameters", "adapter-parameters", "step-milliseconds"];
/// Those of a cell that is measured on the test images.
const ON_TEST: [&str; 2] = [TEST_ACCURACY, "best-test-accuracy"];

/// The names of the metrics of `cell`.
pub fn metrics(cell: &TrainCell) -> Vec<&'static str> {
    let measured = if cell.validation.is_some() { validation::METRICS } else { ON_TEST };
    measured.into_iter().chain(METRICS).collect()
}

/// What is measured after each epoch.
const TEST_ACCURACY: &str = "test-accuracy";
/// The time that it took.
const MEASURING: &str = "measuring-seconds";

/// A teacher's finished cell.
pub struct TeacherCell<'a> {
    /// Its folder.
    pub dir: &'a Path,
    /// Its name.
    pub name: &'a str,
}

/// Trains the network of `cell` and leaves it and `epochs.csv` in the cell's folder.
///
/// # Errors
/// As [`Phases::run`], and when a file cannot be written.
pub fn run(cell: &TrainCell, work: &Work, teacher: Option<TeacherCell>) -> Result<CellResult> {
    let &Work { context, data, data_name, stores } = work;
    let (device, seed) = (context.device, context.seed);
    let started = Instant::now();
    let precision: kd_kernels::conv2d::Precision = cell.conv.into();
    let part = &cell.examples;
    let selection = select(&data.train, part, cell.validation.as_ref())?;
    let (train, count) = (&*selection.images, selection.count);
    let tested = selection.validation.is_none();
    let examples = NormalisedExamples {
        images: train,
        rows: (0..count as u32).collect(),
        normalisation: part.normalisation,
        augmentation: part.augmentation,
        views: (part.views > 0)
            .then(|| Views::new(part.views, cell.train.batch_size, count, seed))
            .transpose()?,
    };
    let saved = teacher
        .as_ref()
        .map(|teacher| Saved::load_with(&teacher.dir.join(NETWORK), precision, device))
        .transpose()?;
    let frozen = saved.map(|saved| match cell.teacher_statistics {
        TeacherStatistics::Running => saved.network,
        TeacherStatistics::Batch => saved.network.with_batch_statistics(),
    });
    let stored = stores
        .zip(teacher.as_ref())
        .map(|(stores, teacher)| stores.open(cell, teacher.name, data_name, count, seed, device))
        .transpose()?;
    let of_teacher = frozen.as_ref().map(|teacher| &**teacher.model());
    let spec = cell.student(data.train.classes, of_teacher)?;
    let (params, vb) = Params::seeded(seed, device);
    let model = spec.build_with(precision, vb.clone())?;
    let measure = || -> Result<BTreeMap<String, f64>> {
        let started = Instant::now();
        let accuracy = accuracy(&*model, &data.test, data.test.len(), part.normalisation, device)?;
        Ok(BTreeMap::from([
            (TEST_ACCURACY.to_owned(), accuracy),
            (MEASURING.to_owned(), started.elapsed().as_secs_f64()),
        ]))
    };
    let phases = Phases {
        model: &*model,
        params: &params,
        vb: &vb,
        precision,
        teacher: frozen.as_ref(),
        stored: stored.as_ref(),
        examples: &examples,
        labels: &train.labels[..count],
        seed,
        device,
        state: Some(context.state()),
        save_every: context.save_every,
        teacher_name: teacher.map(|teacher| teacher.name.to_owned()).unwrap_or_default(),
        data_name: data_name.to_owned(),
        measure: if tested { Some(&measure) } else { None },
    };
    let mut meter = context.meter(cell.epochs());
    let records = phases.run(&cell.phases(), &mut meter)?;
    write_epochs(&context.epochs(), &records)?;
    // What is deployed: linear branches that a method added are folded.
    let (deployed, tensors) = spec.folded(params.without(PREFIX).snapshot()?)?;
    let known = TrainedOn {
        data: Some(data_name.to_owned()),
        normalisation: part.normalisation,
        classes: data.classes.clone(),
    };
    checkpoint::save_trained(&context.network(), &tensors, &deployed, &known)?;
    let on_train = accuracy(&*model, train, count, part.normalisation, device)?;
    let weights = tensors.iter().filter(|(name, _)| !is_buffer(name));
    let parameters: usize = weights.map(|(_, tensor)| tensor.elem_count()).sum();
    let adapters = params.count() - parameters;
    let steps = count.div_ceil(cell.train.batch_size);
    let numbers =
        [on_train, parameters as f64, adapters as f64, step_milliseconds(&records, steps)];
    let mut result = CellResult::of(METRICS, numbers);
    if let Some(held_out) = &selection.validation {
        let images = held_out.len();
        let accuracy = accuracy(&*model, held_out, images, part.normalisation, device)?;
        result.metrics.extend(validation::metrics(accuracy, images));
    } else {
        // Measured at the end of the last epoch already, unless the weights were averaged since.
        let measured = records
            .last()
            .and_then(|record| record.measured.get(TEST_ACCURACY))
            .filter(|_| cell.train.average_epochs <= 1);
        let last = match measured {
            Some(measured) => *measured,
            None => accuracy(&*model, &data.test, data.test.len(), part.normalisation, device)?,
        };
        let best = records
            .iter()
            .filter_map(|r| r.measured.get(TEST_ACCURACY))
            .fold(last, |best, accuracy| best.max(*accuracy));
        result.metrics.extend(CellResult::of(ON_TEST, [last, best]).metrics);
    }
    result.series.insert("epochs".to_owned(), curve(&records, tested));
    context.drop_state();
    let seconds = meter.seconds().max(started.elapsed().as_secs_f64());
    Ok(CellResult { epochs: records.len() as u64, seconds, ..result })
}

/// The median over the epochs of the last phase of the time of a step, what is measured at an
/// epoch's end left out; 0 without an epoch.
fn step_milliseconds(records: &[EpochRecord], steps: usize) -> f64 {
    let last = records.last().map_or(1, |record| record.phase);
    let own = records.iter().filter(|record| record.phase == last);
    let mut seconds: Vec<f64> = own
        .map(|record| record.seconds - record.measured.get(MEASURING).copied().unwrap_or_default())
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).map_or(0., |epoch| 1e3 * epoch / steps.max(1) as f64)
}

/// Loss and, where it was measured, test accuracy by epoch.
fn curve(records: &[EpochRecord], tested: bool) -> Series {
    let row = |record: &EpochRecord| {
        let accuracy = record.measured.get(TEST_ACCURACY).copied().unwrap_or_default();
        let accuracy = tested.then_some(accuracy);
        [record.epoch as f64, record.loss].into_iter().chain(accuracy).collect()
    };
    let columns = ["epoch", "loss"].into_iter().chain(tested.then_some(TEST_ACCURACY));
    Series {
        columns: columns.map(str::to_owned).collect(),
        rows: records.iter().map(row).collect(),
    }
}
