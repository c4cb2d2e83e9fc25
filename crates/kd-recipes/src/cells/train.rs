//! `train`: one network, with or without facts, a teacher, and its parameters.
//!
//! Metrics: `test-errors`, `test-accuracy` (percent), `train-images` (those trained on); with images
//! kept apart `held-out-accuracy`; with images to validate on `validation-accuracy` and their number,
//! `validation-images`, in the place of what is of the test images, which are not looked at; with a
//! curve `start-accuracy`, that on the test images before the first step, and, where the cell needs
//! `plain`, `epochs-to-plain`: the first epoch whose accuracy on the images kept apart is at least
//! that of `plain` at its end, 0 where the network begins with it, and one more than the epochs
//! trained where none has it. The curve is a series of epoch, held-out accuracy and test accuracy,
//! from epoch 0, before the first step.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use kd_core::data::{FactExamples, Facts, ImageExamples};
use kd_core::frozen::{NETWORK, Saved};
use kd_core::method::{Anchored, Context, Distillation, Recipe};
use kd_core::model::Model;
use kd_core::params::Params;
use kd_core::train::{EpochRecord, Errors, Examples, Fit, checkpoint, predict, write_epochs};
use kd_core::{Error, Result, Seed};
use kd_experiment::{CellResult, Series};
use kd_paper::{TrainingContext, validation};

use super::migrate;
use super::selection::{Selection, select};
use crate::paper::Images;
use crate::spec::TrainCell;
use crate::view::{Measured, Seen, View};

/// Images in one forward pass of an evaluation.
pub const EVALUATION_CHUNK: usize = 1000;

const TRAIN_IMAGES: &str = "train-images";
const ON_TEST: [&str; 2] = ["test-errors", "test-accuracy"];
const HELD_OUT: &str = "held-out-accuracy";
const START: &str = "start-accuracy";
const TO_PLAIN: &str = "epochs-to-plain";
/// What is measured after an epoch.
const TEST: &str = "test-accuracy";

/// The finished cells that a cell needs.
pub struct Needed<'a> {
    /// The teacher's spec and folder.
    pub teacher: Option<(&'a TrainCell, &'a Path)>,
    /// What the network came to whose accuracy is to be reached.
    pub plain: Option<&'a CellResult>,
}

/// The names of the metrics of `cell`; `plain` is whether it needs that role.
pub fn metrics(cell: &TrainCell, plain: bool) -> impl Iterator<Item = &'static str> {
    let held_out = (cell.examples.held_out > 0).then_some(HELD_OUT);
    let start = cell.curve.then_some(START);
    let to_plain = plain.then_some(TO_PLAIN);
    let measured = if cell.validation.is_some() { validation::METRICS } else { ON_TEST };
    measured.into_iter().chain([TRAIN_IMAGES]).chain(held_out).chain(start).chain(to_plain)
}

/// Trains the network of `cell` and leaves it and `epochs.csv` in the cell's folder.
///
/// # Errors
/// Bad input when something that the cell needs is not there or does not fit.
pub fn run(
    cell: &TrainCell,
    images: &Images,
    measured: &Measured,
    context: &TrainingContext,
    needed: &Needed,
) -> Result<CellResult> {
    let &TrainingContext { device, seed, save_every, .. } = context;
    let started = Instant::now();
    let view = View::of(cell, images, measured, seed)?;
    let Selection { rows, held_out, validation } =
        select(&view.train.images.labels, &cell.examples, cell.validation.as_ref(), seed)?;
    let method = cell.method();
    let teacher_logits = if method.needs_teacher() {
        let mut logits = teacher_logits(needed, images, measured, &rows, seed, device)?;
        if let Some(temperature) = cell.soften_teacher {
            logits.iter_mut().for_each(|l| *l = (f64::from(*l) / temperature) as f32);
        }
        Some(logits)
    } else {
        None
    };
    // Whole passes, so that every image counts alike.
    let passes = cell.examples.epoch_images.div_ceil(rows.len().max(1)).max(1);
    let plain_examples = ImageExamples {
        images: &view.train.images,
        rows: rows.repeat(passes),
        jitter: 0,
        teacher_logits,
    };
    let with_facts;
    let examples: &dyn Examples = match &view.train.facts {
        Some(facts) => {
            with_facts = FactExamples::new(&plain_examples, facts, view.train.images.len())?;
            &with_facts
        }
        None => &plain_examples,
    };
    let spec = cell.network(&view.train.images, view.train.facts.as_ref().map(Facts::width));
    let (params, vb) = Params::seeded(seed, device);
    let model = spec.build(vb.clone())?;
    let mut distillation: Box<dyn Distillation> =
        method.build(&Context::new(&*model, None, &view.train.images.labels, &params, &vb))?;
    let mut projection: Vec<EpochRecord> = Vec::new();
    let mut meter = context.meter(cell.train.epochs + cell.projection_epochs());
    if let Some(part) = &cell.migration {
        let Some((_, teacher)) = needed.teacher else {
            return Err(no_teacher());
        };
        let net = cell.network.full(view.train.images.pixels(), view.train.images.classes);
        let run = migrate::Run { part, net: &net, examples, method: &method, context };
        let (moved, records) = run.moved(&teacher.join(NETWORK), &mut meter)?;
        projection = records;
        if part.begin {
            params.set(&moved)?;
        }
        if part.penalty > 0. {
            distillation = Box::new(Anchored::new(distillation, &params, moved, part.penalty)?);
        }
    }
    let accuracy = |seen: &Seen, rows: &[u32]| accuracy(&*model, seen, rows, device);
    let test_rows: Vec<u32> = (0..view.test.images.len() as u32).collect();
    let measure = || -> Result<BTreeMap<String, f64>> {
        let on_held_out = accuracy(&view.train, &held_out)?;
        let on_test = accuracy(&view.test, &test_rows)?;
        Ok(BTreeMap::from([(HELD_OUT.to_owned(), on_held_out), (TEST.to_owned(), on_test)]))
    };
    let start = if cell.curve { Some(measure()?) } else { None };
    let mut fit = Fit {
        state: Some(context.state()),
        save_every,
        earlier: projection.clone(),
        ..Fit::new(&*model, &params, &*distillation, examples, &cell.train, seed, device)
    };
    if cell.curve {
        fit.measure = Some(&measure);
    }
    let records = fit.run(&mut meter)?;
    let all: Vec<EpochRecord> = projection.iter().chain(&records).cloned().collect();
    write_epochs(&context.epochs(), &all)?;
    checkpoint::save(&context.network(), &params.snapshot()?, &spec)?;

    let mut result = CellResult::of([TRAIN_IMAGES], [rows.len() as f64]);
    if cell.validation.is_some() {
        let accuracy = accuracy(&view.train, &validation)?;
        result.metrics.extend(validation::metrics(accuracy, validation.len()));
    } else {
        let logits = logits(&*model, &view.test, &test_rows, device)?;
        let test = Errors::count(&logits, &view.test.images.labels)?;
        let numbers = [test.total() as f64, test.accuracy()];
        result.metrics.extend(CellResult::of(ON_TEST, numbers).metrics);
    }
    if !held_out.is_empty() {
        result.metrics.insert(HELD_OUT.to_owned(), accuracy(&view.train, &held_out)?);
    }
    if let Some(start) = start {
        let curve = curve(&start, &records);
        result.metrics.insert(START.to_owned(), start[TEST]);
        if let Some(plain) = needed.plain {
            result.metrics.insert(TO_PLAIN.to_owned(), epochs_to(plain, &curve)?);
        }
        let columns = ["epoch", HELD_OUT, TEST].map(str::to_owned).to_vec();
        result.series.insert("curve".to_owned(), Series { columns, rows: curve });
    }
    result.epochs = all.len() as u64;
    context.drop_state();
    migrate::drop_state(context);
    result.seconds = meter.seconds().max(started.elapsed().as_secs_f64());
    Ok(result)
}

/// The accuracies before the first step and after each epoch.
fn curve(start: &BTreeMap<String, f64>, records: &[EpochRecord]) -> Vec<Vec<f64>> {
    let measured = std::iter::once(start).chain(records.iter().map(|record| &record.measured));
    let number = |of: &BTreeMap<String, f64>, name| of.get(name).copied().unwrap_or_default();
    measured
        .enumerate()
        .map(|(epoch, of)| vec![epoch as f64, number(of, HELD_OUT), number(of, TEST)])
        .collect()
}

/// The first epoch of a curve with `plain`'s accuracy on the images kept apart; one more than its
/// last where none has it.
fn epochs_to(plain: &CellResult, curve: &[Vec<f64>]) -> Result<f64> {
    let wanted = plain.metrics.get(HELD_OUT).copied().ok_or_else(|| {
        Error::bad_input(format!("needs.plain: expected a metric {HELD_OUT}, got none"))
    })?;
    Ok(curve.iter().position(|row| row[1] >= wanted).unwrap_or(curve.len()) as f64)
}

fn no_teacher() -> Error {
    Error::bad_input("this cell needs a teacher: expected needs.teacher, got none")
}

/// The teacher's logits on these rows, among zeros for all other training images, as
/// [`ImageExamples`] takes them. The teacher sees the images as its own cell does, facts included.
fn teacher_logits(
    needed: &Needed,
    images: &Images,
    measured: &Measured,
    rows: &[u32],
    seed: Seed,
    device: &Device,
) -> Result<Vec<f32>> {
    let (cell, dir) = needed.teacher.ok_or_else(no_teacher)?;
    let view = View::of(cell, images, measured, seed)?;
    let saved = Saved::load(&dir.join(NETWORK), device)?;
    let network = saved.network.model();
    let found = logits(&**network, &view.train, rows, device)?.to_vec2::<f32>()?;
    let classes = view.train.images.classes;
    let mut all = vec![0f32; view.train.images.len() * classes];
    for (row, logits) in rows.iter().zip(found) {
        all[*row as usize * classes..][..classes].copy_from_slice(&logits);
    }
    Ok(all)
}

fn logits(
    model: &dyn Model,
    seen: &Seen,
    rows: &[u32],
    device: &Device,
) -> Result<candle_core::Tensor> {
    predict(model, rows.len(), EVALUATION_CHUNK, |part| seen.rows(&rows[part], device))
}

/// Percent of these images that the network gets right.
fn accuracy(model: &dyn Model, seen: &Seen, rows: &[u32], device: &Device) -> Result<f64> {
    let labels: Vec<u8> = rows.iter().map(|&r| seen.images.labels[r as usize]).collect();
    Ok(Errors::count(&logits(model, seen, rows, device)?, &labels)?.accuracy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epochs_to_an_accuracy_count_from_the_start_and_say_where_it_is_not_reached() -> Result<()>
    {
        let plain = CellResult::of([HELD_OUT], [90.]);
        let curve = |values: &[f64]| -> Vec<Vec<f64>> {
            values.iter().enumerate().map(|(i, v)| vec![i as f64, *v, 0.]).collect()
        };
        assert_eq!(epochs_to(&plain, &curve(&[90., 80.]))?, 0.);
        assert_eq!(epochs_to(&plain, &curve(&[10., 89., 95., 80.]))?, 2.);
        assert_eq!(epochs_to(&plain, &curve(&[10., 89., 89.9]))?, 3.);
        assert!(epochs_to(&CellResult::default(), &curve(&[1.])).is_err());
        Ok(())
    }
}
