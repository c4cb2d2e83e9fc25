//! `soft-targets`: what a teacher's probabilities carry beside the label (section 2 of the paper).
//!
//! Metrics over the test images: `entropy`, the mean entropy of the probabilities in bits, and
//! `second-probability`, the mean probability of the second most likely class. The series
//! `pictured` says which images the picture shows, with their probabilities, and `pixels` holds the
//! images themselves, so that the picture can be drawn from the result alone.

use std::path::Path;

use kd_core::data::Mnist;
use kd_core::train::evaluate::largest;
use kd_core::{Error, Result};
use kd_experiment::{CellResult, Series};

use super::Logits;
use crate::ensemble::softmax;
use crate::spec::{CLASSES, PIXELS, SoftTargetsCell};

/// The names of its metrics.
pub const METRICS: [&str; 2] = ["entropy", "second-probability"];

/// Looks at the teacher whose cell is in `teacher`.
///
/// # Errors
/// Bad input when a pair has no rightly classified test image to show.
pub fn run(cell: &SoftTargetsCell, data: &Mnist, teacher: &Path) -> Result<CellResult> {
    let logits = Logits::read(teacher)?.test;
    let rows: Vec<&[f32]> = logits.chunks(CLASSES).collect();
    let (mut entropy, mut second) = (0., 0.);
    for row in &rows {
        let mut p = softmax(row, cell.temperature);
        entropy -= p.iter().filter(|&&p| p > 0.).map(|p| p * p.log2()).sum::<f64>();
        p.sort_by(|a, b| b.total_cmp(a));
        second += p[1];
    }
    let n = rows.len().max(1) as f64;
    let mut found = CellResult::of(METRICS, [entropy / n, second / n]);
    let (mut pictured, mut pixels) = (Vec::new(), Vec::new());
    for &(digit, other) in &cell.pairs {
        let likeness = |&i: &usize| softmax(rows[i], 1.)[usize::from(other)];
        let right = (0..rows.len())
            .filter(|&i| data.test.labels[i] == digit && largest(rows[i]) == usize::from(digit));
        let Some(image) = right.max_by(|a, b| likeness(a).total_cmp(&likeness(b))) else {
            return Err(Error::bad_input(format!(
                "pairs: expected a rightly classified test image of {digit}, got none"
            )));
        };
        let probabilities = softmax(rows[image], cell.temperature);
        pixels.push(
            data.test.images[image * PIXELS..][..PIXELS].iter().map(|&p| f64::from(p)).collect(),
        );
        pictured.push(
            [image as f64, f64::from(digit), f64::from(other)]
                .into_iter()
                .chain(probabilities)
                .collect(),
        );
    }
    let classes = (0..CLASSES).map(|c| format!("p{c}"));
    let columns = ["test-image", "digit", "resembles"]
        .into_iter()
        .map(str::to_owned)
        .chain(classes)
        .collect();
    found.series.insert("pictured".to_owned(), Series { columns, rows: pictured });
    let columns = (0..PIXELS).map(|i| i.to_string()).collect();
    found.series.insert("pixels".to_owned(), Series { columns, rows: pixels });
    Ok(found)
}
