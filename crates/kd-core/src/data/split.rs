//! Which rows: held-out splits, stratified subsets, filters by class. Pure functions of the labels and an explicit seed.
//!
//! All return row numbers for [`LabelledImages::subset`](super::LabelledImages::subset) and [`super::jitter::gather`], in ascending order.

use super::DataError;
use super::counter::draw;

const PURPOSE: u64 = 0x7370_6C69;

/// Two disjoint sets of rows that together are all rows, each in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows to train on.
    pub train: Vec<u32>,
    /// Rows kept apart, for choices that must not be made on the test set.
    pub held_out: Vec<u32>,
}

/// Keeps exactly `held_out` rows apart, each class in proportion to its share (within one row; largest remainders first, smaller class
/// first among equals). Which rows of a class is decided by `seed`.
///
/// # Errors
/// [`DataError::Argument`] unless `held_out` is less than the number of labels.
pub fn held_out(labels: &[u8], held_out: usize, seed: u64) -> Result<Split, DataError> {
    if held_out >= labels.len() {
        let (expected, got) = (format!("less than the {} rows there are", labels.len()), held_out.to_string());
        return Err(DataError::Argument { what: "held-out rows", expected, got });
    }
    let classes = by_class(labels, seed);
    let share = |n: usize| (n as u128 * held_out as u128, labels.len() as u128);
    let mut take: Vec<usize> = classes.iter().map(|rows| (share(rows.len()).0 / share(rows.len()).1) as usize).collect();
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|&c| std::cmp::Reverse(share(classes[c].len()).0 % share(classes[c].len()).1));
    let missing = held_out - take.iter().sum::<usize>();
    for &c in order.iter().take(missing) {
        take[c] += 1;
    }
    let mut apart = vec![false; labels.len()];
    for (rows, n) in classes.iter().zip(take) {
        for &row in &rows[..n] {
            apart[row as usize] = true;
        }
    }
    let (held_out, train) = (0..labels.len() as u32).partition(|&row| apart[row as usize]);
    Ok(Split { train, held_out })
}

/// A `fraction` of each class: `round(fraction × n)` of a class of `n` rows, at least 1.
///
/// For one seed a smaller fraction's rows are among a larger one's, so a curve over fractions only ever adds data.
///
/// # Errors
/// [`DataError::Argument`] unless `0 < fraction <= 1`.
pub fn stratified_fraction(labels: &[u8], fraction: f64, seed: u64) -> Result<Vec<u32>, DataError> {
    if !(fraction > 0.0 && fraction <= 1.0) {
        return Err(DataError::Argument {
            what: "fraction of the training set",
            expected: "more than 0 and at most 1".to_string(),
            got: fraction.to_string(),
        });
    }
    let mut rows: Vec<u32> = Vec::new();
    for class in by_class(labels, seed) {
        let n = ((fraction * class.len() as f64).round() as usize).clamp(class.len().min(1), class.len());
        rows.extend_from_slice(&class[..n]);
    }
    rows.sort_unstable();
    Ok(rows)
}

/// The rows whose class is in `classes`.
pub fn keep_classes(labels: &[u8], classes: &[u8]) -> Vec<u32> {
    filter(labels, |l| classes.contains(&l))
}

/// The rows whose class is not in `classes`.
pub fn omit_classes(labels: &[u8], classes: &[u8]) -> Vec<u32> {
    filter(labels, |l| !classes.contains(&l))
}

fn filter(labels: &[u8], keep: impl Fn(u8) -> bool) -> Vec<u32> {
    labels.iter().enumerate().filter(|&(_, &l)| keep(l)).map(|(row, _)| row as u32).collect()
}

/// The rows of each class, by class, each shuffled by `seed`: sorted by a hash that has no ties.
fn by_class(labels: &[u8], seed: u64) -> Vec<Vec<u32>> {
    let mut classes: Vec<Vec<u32>> = vec![Vec::new(); labels.iter().max().map_or(0, |&l| usize::from(l) + 1)];
    for (row, &label) in labels.iter().enumerate() {
        classes[usize::from(label)].push(row as u32);
    }
    for rows in &mut classes {
        rows.sort_unstable_by_key(|&row| draw(seed, PURPOSE, u64::from(row)));
    }
    classes
}
