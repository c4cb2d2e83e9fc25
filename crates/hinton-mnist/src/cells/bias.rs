//! `bias`: the biases of some classes of a finished network are shifted together, by an amount
//! chosen in three ways.
//!
//! The paper raises the bias of the digit that the transfer set lacks, and lowers those of the only
//! two that it has, by the amount that is best on the test set. Beside that stand an amount chosen
//! on held-out training images and one that needs no labels of the images at all, only the share of
//! the classes.
//!
//! Metrics: `test-errors`, `test-error-rate`, `errors-on-omitted` (test images of the shifted
//! classes), `held-out-errors` and `bias`, each with the prefix `before-bias.`, `bias-on-test.`,
//! `bias-on-held-out.` or `bias-by-frequency.`; the series `curve` has all of the grid.

use std::path::Path;

use kd_core::data::Mnist;
use kd_core::train::evaluate::largest;
use kd_core::{Error, Result, Seed};
use kd_experiment::{CellResult, Series};

use super::Logits;
use crate::ensemble::softmax;
use crate::spec::{BiasCell, CLASSES, ExamplesPart};
use crate::transfer::select;

/// The ways to choose the shift; none at first.
const CHOICES: [&str; 4] = ["before-bias", "bias-on-test", "bias-on-held-out", "bias-by-frequency"];
/// What is known of each.
const NUMBERS: [&str; 5] =
    ["test-errors", "test-error-rate", "errors-on-omitted", "held-out-errors", "bias"];

/// The names of its metrics: `<choice>.<number>`.
pub fn metrics() -> impl Iterator<Item = String> {
    CHOICES.iter().flat_map(|choice| NUMBERS.iter().map(move |number| name(choice, number)))
}

fn name(choice: &str, number: &str) -> String {
    format!("{choice}.{number}")
}

/// Scans the shifts for the student whose cell is in `student`.
///
/// # Errors
/// Bad input when no image was held out.
pub fn run(cell: &BiasCell, seed: Seed, data: &Mnist, student: &Path) -> Result<CellResult> {
    let logits = Logits::read(student)?;
    let digits = cell.digits.list();
    let all: Vec<u8> = (0..CLASSES as u8).collect();
    let part = ExamplesPart {
        limit: cell.limit,
        held_out: cell.held_out,
        fraction: 1.,
        classes: all,
        omit: None,
        epoch_images: 0,
        jitter: 0,
    };
    let apart = select(&data.train.labels, &part, None, seed)?.held_out;
    if apart.is_empty() {
        return Err(Error::bad_input(
            "the bias is chosen on held-out images: expected held-out above 0, got 0",
        ));
    }
    let test = ShiftedLogits::new(&logits.test, data.test.labels.clone(), &digits);
    let rows = apart
        .iter()
        .flat_map(|&r| &logits.train[r as usize * CLASSES..][..CLASSES])
        .copied()
        .collect::<Vec<_>>();
    let held_out = ShiftedLogits::new(
        &rows,
        apart.iter().map(|&r| data.train.labels[r as usize]).collect(),
        &digits,
    );

    let steps = ((cell.to - cell.from) / cell.step).round() as usize;
    // Rounded, so that the grid's numbers read as they were written: 0.1 steps give 0.3, not
    // 0.30000000000000004.
    let grid: Vec<f64> =
        (0..=steps).map(|i| ((cell.from + i as f64 * cell.step) * 1e6).round() / 1e6).collect();
    let on_test: Vec<(usize, usize)> = grid.iter().map(|&b| test.errors(b)).collect();
    let on_held_out: Vec<(usize, usize)> = grid.iter().map(|&b| held_out.errors(b)).collect();
    let best = |errors: &[(usize, usize)]| {
        // Of equally good shifts, the smallest.
        let key = |i: &usize| (errors[*i].0, (grid[*i].abs() * 1e6) as u64);
        (0..grid.len()).min_by_key(key).map_or(0., |i| grid[i])
    };
    // In the order of `CHOICES`.
    let chosen: [f64; CHOICES.len()] =
        [0., best(&on_test), best(&on_held_out), held_out.match_frequency(cell.from, cell.to)];
    let of = data.test.labels.len().max(1) as f64;
    let mut found = CellResult::default();
    for (choice, bias) in CHOICES.into_iter().zip(chosen) {
        let (all, on_digits) = test.errors(bias);
        let (all_held_out, _) = held_out.errors(bias);
        // In the order of `NUMBERS`.
        let numbers: [f64; NUMBERS.len()] =
            [all as f64, 100. * all as f64 / of, on_digits as f64, all_held_out as f64, bias];
        found.metrics.extend(
            NUMBERS.into_iter().zip(numbers).map(|(number, value)| (name(choice, number), value)),
        );
    }
    let columns =
        ["bias", "test-errors", "errors-on-digits", "held-out-errors"].map(str::to_owned).to_vec();
    let line =
        |i: usize| vec![grid[i], on_test[i].0 as f64, on_test[i].1 as f64, on_held_out[i].0 as f64];
    found
        .series
        .insert("curve".to_owned(), Series { columns, rows: (0..grid.len()).map(line).collect() });
    Ok(found)
}

/// Labelled logits whose entries at some classes can be shifted.
struct ShiftedLogits {
    logits: Vec<f32>,
    labels: Vec<u8>,
    digits: Vec<u8>,
}

impl ShiftedLogits {
    fn new(logits: &[f32], labels: Vec<u8>, digits: &[u8]) -> Self {
        Self { logits: logits.to_vec(), labels, digits: digits.to_vec() }
    }

    fn rows(&self, bias: f64) -> impl Iterator<Item = (Vec<f32>, u8)> + '_ {
        self.logits.chunks(CLASSES).zip(&self.labels).map(move |(row, &label)| {
            let mut row = row.to_vec();
            for &d in &self.digits {
                row[usize::from(d)] += bias as f32;
            }
            (row, label)
        })
    }

    /// Errors over all rows, and over those of the shifted classes.
    fn errors(&self, bias: f64) -> (usize, usize) {
        let (mut all, mut on_digits) = (0, 0);
        for (row, label) in self.rows(bias) {
            if largest(&row) != usize::from(label) {
                all += 1;
                on_digits += usize::from(self.digits.contains(&label));
            }
        }
        (all, on_digits)
    }

    /// The shift at which the mean probability of the classes is their share of the labels, by
    /// bisection: it grows with the shift. Where the share is out of reach, the nearer end.
    fn match_frequency(&self, from: f64, to: f64) -> f64 {
        let share = self.labels.iter().filter(|l| self.digits.contains(l)).count() as f64;
        let expected = |bias: f64| -> f64 {
            let mass = |(row, _): (Vec<f32>, u8)| {
                let p = softmax(&row, 1.);
                self.digits.iter().map(|&d| p[usize::from(d)]).sum::<f64>()
            };
            self.rows(bias).map(mass).sum()
        };
        let (mut low, mut high) = (from, to);
        for _ in 0..40 {
            let middle = (low + high) / 2.;
            if expected(middle) < share { low = middle } else { high = middle }
        }
        ((low + high) / 2. * 1e4).round() / 1e4
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;
    use kd_core::data::LabelledImages;

    use super::*;
    use crate::spec::Digits;

    /// Logits with noise, in which class 3 is about three too low; the noise is the seed's.
    fn student_that_lacks_threes(labels: &[u8], seed: u64, purpose: &str) -> Tensor {
        let noise = Seed(seed).stream(purpose, 0, 0);
        let logit = |i: usize, class: usize| {
            let right = if usize::from(labels[i]) == class { 3. } else { 0. };
            right - if class == 3 { 3. } else { 0. } + noise.normal_at((i * CLASSES + class) as u64)
        };
        let all: Vec<f32> = (0..labels.len())
            .flat_map(|i| (0..CLASSES).map(move |class| (i, class)))
            .map(|(i, c)| logit(i, c))
            .collect();
        Tensor::from_vec(all, (labels.len(), CLASSES), &candle_core::Device::Cpu).unwrap()
    }

    #[test]
    fn each_set_has_the_fewest_errors_with_the_bias_that_was_chosen_on_it() {
        let labels = |n: usize| (0..n).map(|i| (i % CLASSES) as u8).collect::<Vec<_>>();
        let images = |n: usize| LabelledImages::grey(vec![0; n], labels(n), 1, 1, CLASSES);
        let data = Mnist { train: images(600), test: images(300) };
        let cell = BiasCell {
            digits: Digits::One(3),
            from: -6.,
            to: 6.,
            step: 0.1,
            limit: 0,
            held_out: 0.5,
        };
        for seed in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let logits = |set: &LabelledImages, purpose| {
                student_that_lacks_threes(&set.labels, seed, purpose)
            };
            Logits::write(
                dir.path(),
                logits(&data.train, "train"),
                Some(logits(&data.test, "test")),
            )
            .unwrap();
            let found = run(&cell, Seed(seed), &data, dir.path()).unwrap();

            // The one by frequency is not on the grid that the others are chosen from.
            let names = ["before-bias", "bias-on-test", "bias-on-held-out"];
            for (set, chosen) in
                [("held-out-errors", "bias-on-held-out"), ("test-errors", "bias-on-test")]
            {
                let errors = |name: &str| found.metrics[&format!("{name}.{set}")];
                assert!(names.iter().all(|name| errors(chosen) <= errors(name)), "{set} {seed}");
                assert!(errors(chosen) < errors("before-bias"), "{set} {seed}");
                let column = found.series["curve"].columns.iter().position(|c| c == set).unwrap();
                let fewest = found.series["curve"]
                    .rows
                    .iter()
                    .map(|row| row[column])
                    .fold(f64::INFINITY, f64::min);
                assert_eq!(errors(chosen), fewest, "{set} {seed}");
            }
            // Counted by hand: the rows held out are those of the student's own split.
            let apart =
                kd_core::data::split::held_out(&data.train.labels, 300, seed).unwrap().held_out;
            let all = Logits::read(dir.path()).unwrap().train;
            let wrong = |&r: &u32| {
                largest(&all[r as usize * CLASSES..][..CLASSES])
                    != usize::from(data.train.labels[r as usize])
            };
            assert_eq!(
                found.metrics["before-bias.held-out-errors"],
                apart.iter().filter(|r| wrong(r)).count() as f64
            );
        }
    }

    fn example() -> ShiftedLogits {
        // Class 3 is always two logits too low; half of the rows are of class 3, half of class 0.
        let mut logits = vec![-9f32; 8 * CLASSES];
        for (i, row) in logits.chunks_mut(CLASSES).enumerate() {
            let three = i % 2 == 1;
            row[0] = if three { 0. } else { 4. };
            row[3] = if three { -1. } else { -3. };
        }
        ShiftedLogits::new(&logits, (0..8).map(|i| if i % 2 == 1 { 3 } else { 0 }).collect(), &[3])
    }

    #[test]
    fn a_shift_past_the_gap_mends_the_class_and_one_too_far_breaks_the_others() {
        let rows = example();
        assert_eq!(rows.errors(0.), (4, 4));
        assert_eq!(rows.errors(2.), (0, 0));
        assert_eq!(rows.errors(8.), (4, 0));
    }

    #[test]
    fn matching_the_frequency_finds_the_shift_that_makes_the_class_as_likely_as_it_is_frequent() {
        let rows = example();
        let bias = rows.match_frequency(-10., 20.);
        let mean: f64 = rows.rows(bias).map(|(row, _)| softmax(&row, 1.)[3]).sum::<f64>() / 8.;
        assert!((mean - 0.5).abs() < 1e-3, "{bias} {mean}");
    }
}
