//! `train`: one network, with or without teachers.
//!
//! Metrics: `test-errors`, `test-error-rate` and `test-accuracy` (percent), `train-errors` and
//! `train-accuracy` over the images trained on, un-jittered, `errors-on-omitted` (test images of
//! the classes left out), and `held-out-errors` where images were kept apart. A cell with images to
//! validate on has `validation-accuracy` (percent) on them and their number, `validation-images`, in
//! the place of all that is of the test images, which it does not look at.

use std::path::Path;
use std::time::Instant;

use candle_core::{Device, Tensor};
use kd_core::data::{ImageExamples, LabelledImages, Mnist};
use kd_core::frozen::NETWORK;
use kd_core::inherit;
use kd_core::method::{Context, MethodSpec, Recipe, soft_targets};
use kd_core::model::NetworkSpec;
use kd_core::params::Params;
use kd_core::train::{Errors, Fit, checkpoint, predict, write_epochs};
use kd_core::{Error, Result};
use kd_experiment::CellResult;
use kd_paper::{TrainingContext, validation};

use super::{Logits, matrix};
use crate::ensemble::combine;
use crate::spec::{CLASSES, TrainCell};
use crate::transfer::{Selection, select};

/// Images in one forward pass of an evaluation.
pub const EVALUATION_CHUNK: usize = 1000;

/// The metrics that every cell has.
const ON_TRAIN: [&str; 3] = ["train-errors", "train-accuracy", "train-images"];
/// Those of a cell that is measured on the test images.
const ON_TEST: [&str; 3] = ["test-errors", "test-error-rate", "test-accuracy"];
const ERRORS_ON_OMITTED: &str = "errors-on-omitted";
const HELD_OUT_ERRORS: &str = "held-out-errors";

/// Trains the network of `cell` and leaves it, its logits and `epochs.csv` in the cell's folder;
/// `teachers` are the folders of its teachers' cells.
///
/// # Errors
/// Bad input when the method needs a teacher and there is none, or there are several and no mean is
/// named.
pub fn run(
    cell: &TrainCell,
    data: &Mnist,
    context: &TrainingContext,
    teachers: &[&Path],
) -> Result<CellResult> {
    let &TrainingContext { dir, device, seed, save_every, .. } = context;
    let started = Instant::now();
    let selection = select(&data.train.labels, &cell.examples, cell.validation.as_ref(), seed)?;
    let teacher =
        if cell.method.needs_teacher() { Some(teacher_logits(cell, teachers)?) } else { None };
    let images = &data.train;
    // Whole passes, so that every image counts alike.
    let passes = cell.examples.epoch_images.div_ceil(selection.rows.len().max(1)).max(1);
    let examples = ImageExamples {
        images,
        rows: selection.rows.repeat(passes),
        jitter: cell.examples.jitter,
        teacher_logits: teacher,
    };
    let spec = NetworkSpec::Mlp(cell.network.full());
    let (params, vb) = Params::seeded(seed, device);
    let model = spec.build(vb.clone())?;
    let method = cell.method.build(&Context::new(&*model, None, &images.labels, &params, &vb))?;
    if let (Some(layers), Some(teacher)) = (cell.inherit_layers, teachers.first()) {
        inherit_from(&teacher.join(NETWORK), cell, layers, &params)?;
    }
    let mut meter = context.meter(cell.train.epochs);
    let fit = Fit {
        state: Some(context.state()),
        save_every,
        ..Fit::new(&*model, &params, &*method, &examples, &cell.train, seed, device)
    };
    let records = fit.run(&mut meter)?;
    write_epochs(&context.epochs(), &records)?;
    checkpoint::save(&context.network(), &params.snapshot()?, &spec)?;

    let logits = |set: &LabelledImages| {
        predict(&*model, set.len(), EVALUATION_CHUNK, |rows| Ok(set.range_to_tensor(rows, device)?))
    };
    let train = logits(&data.train)?;
    // What is validated is not tested.
    let test = if cell.validation.is_none() { Some(logits(&data.test)?) } else { None };
    let mut result = measured(cell, &train, test.as_ref(), data, &selection)?;
    result.epochs = records.len() as u64;
    Logits::write(dir, train, test)?;
    context.drop_state();
    result.seconds = meter.seconds().max(started.elapsed().as_secs_f64());
    Ok(result)
}

/// Sets the first layers of `params` from the network in this file.
fn inherit_from(teacher: &Path, cell: &TrainCell, layers: usize, params: &Params) -> Result<()> {
    let (tensors, about) = checkpoint::load::<NetworkSpec>(teacher, &Device::Cpu)?;
    let NetworkSpec::Mlp(wide) = about else {
        return Err(Error::bad_input(format!(
            "{}: expected a multi-layer perceptron, got {about:?}",
            teacher.display()
        )));
    };
    let mut first = params.snapshot()?;
    first.extend(inherit::narrowed(&tensors, &wide, &cell.network.full(), layers)?);
    params.set(&first)
}

/// The mean of the teachers' logits on all training images, at the method's temperature.
fn teacher_logits(cell: &TrainCell, teachers: &[&Path]) -> Result<Vec<f32>> {
    let temperature = match cell.method {
        MethodSpec::SoftTargets(soft_targets::Spec { temperature, .. }) => temperature,
        _ => 1.,
    };
    let mut members =
        teachers.iter().map(|dir| Ok(Logits::read(dir)?.train)).collect::<Result<Vec<_>>>()?;
    match cell.mean_of(members.len())? {
        Some(mean) => combine(&members, CLASSES, mean, temperature),
        None => members.pop().ok_or_else(|| {
            Error::bad_input("this method needs a teacher: expected needs.teacher, got none")
        }),
    }
}

/// The names of the metrics of `cell`.
pub fn metrics(cell: &TrainCell) -> impl Iterator<Item = &'static str> {
    let tested = cell.validation.is_none();
    let on_test = tested.then_some(ON_TEST).into_iter().flatten();
    let omitted = (tested && !cell.examples.omitted().is_empty()).then_some(ERRORS_ON_OMITTED);
    let held_out = (cell.examples.held_out > 0.).then_some(HELD_OUT_ERRORS);
    let validated = (!tested).then_some(validation::METRICS).into_iter().flatten();
    ON_TRAIN.into_iter().chain(on_test).chain(omitted).chain(held_out).chain(validated)
}

fn measured(
    cell: &TrainCell,
    train: &Tensor,
    test: Option<&Tensor>,
    data: &Mnist,
    selection: &Selection,
) -> Result<CellResult> {
    let Selection { rows, held_out, validation } = selection;
    let on_rows = |rows: &[u32]| {
        let labels: Vec<u8> = rows.iter().map(|&r| data.train.labels[r as usize]).collect();
        let index = Tensor::from_slice(rows, rows.len(), &Device::Cpu)?;
        Errors::count(&train.index_select(&index, 0)?, &labels)
    };
    let on_train = on_rows(rows)?;
    let percent = |wrong: usize, of: usize| 100. * wrong as f64 / of.max(1) as f64;
    // In the order of `ON_TRAIN`.
    let numbers = [
        on_train.total() as f64,
        percent(on_train.of - on_train.total(), on_train.of),
        rows.len() as f64,
    ];
    let mut found = CellResult::of(ON_TRAIN, numbers);
    if let Some(test) = test {
        let on_test = Errors::count(test, &data.test.labels)?;
        // In the order of `ON_TEST`.
        let numbers = [
            on_test.total() as f64,
            percent(on_test.total(), on_test.of),
            percent(on_test.of - on_test.total(), on_test.of),
        ];
        found.metrics.extend(CellResult::of(ON_TEST, numbers).metrics);
        let omitted = cell.examples.omitted();
        if !omitted.is_empty() {
            let errors: usize = omitted.iter().map(|&c| on_test.per_class[usize::from(c)]).sum();
            found.metrics.insert(ERRORS_ON_OMITTED.to_owned(), errors as f64);
        }
    }
    if !validation.is_empty() {
        let accuracy = on_rows(validation)?.accuracy();
        found.metrics.extend(validation::metrics(accuracy, validation.len()));
    }
    if !held_out.is_empty() {
        found.metrics.insert(HELD_OUT_ERRORS.to_owned(), on_rows(held_out)?.total() as f64);
    }
    Ok(found)
}

/// The errors of logits that are already at hand, row-major.
///
/// # Errors
/// When their number is not a multiple of the classes.
pub fn errors_of(logits: &[f32], labels: &[u8]) -> Result<Errors> {
    Errors::count(&matrix(logits)?, labels)
}
