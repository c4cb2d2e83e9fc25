//! Which rows: held-out splits, stratified subsets, filters by class. Pure functions of the labels
//! and an explicit seed.
//!
//! All return row numbers for [`LabelledImages::subset`](super::LabelledImages::subset) and
//! [`super::jitter::gather`], in ascending order.

use super::DataError;
use crate::Seed;

/// Two disjoint sets of rows that together are all rows, each in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows to train on.
    pub train: Vec<u32>,
    /// Rows kept apart, for choices that must not be made on the test set.
    pub held_out: Vec<u32>,
}

/// Keeps exactly `held_out` rows apart, each class in proportion to its share (within one row;
/// largest remainders first, smaller class first among equals). Which rows of a class is decided by
/// `seed`.
///
/// # Errors
/// [`DataError::Argument`] unless `held_out` is less than the number of labels.
pub fn held_out(labels: &[u8], held_out: usize, seed: u64) -> Result<Split, DataError> {
    if held_out >= labels.len() {
        let (expected, got) =
            (format!("less than the {} rows there are", labels.len()), held_out.to_string());
        return Err(DataError::Argument { what: "held-out rows", expected, got });
    }
    let classes = by_class(labels, seed);
    let share = |n: usize| (n as u128 * held_out as u128, labels.len() as u128);
    let mut take: Vec<usize> =
        classes.iter().map(|rows| (share(rows.len()).0 / share(rows.len()).1) as usize).collect();
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order
        .sort_by_key(|&c| std::cmp::Reverse(share(classes[c].len()).0 % share(classes[c].len()).1));
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
/// For one seed a smaller fraction's rows are among a larger one's, so a curve over fractions only
/// ever adds data.
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
        let n = ((fraction * class.len() as f64).round() as usize)
            .clamp(class.len().min(1), class.len());
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

/// The rows of each class, by class, each shuffled by `seed`: sorted by a word of the seed's
/// stream, equal words by row.
fn by_class(labels: &[u8], seed: u64) -> Vec<Vec<u32>> {
    let mut classes: Vec<Vec<u32>> =
        vec![Vec::new(); labels.iter().max().map_or(0, |&l| usize::from(l) + 1)];
    for (row, &label) in labels.iter().enumerate() {
        classes[usize::from(label)].push(row as u32);
    }
    let stream = Seed(seed).stream("split", 0, 0);
    for rows in &mut classes {
        rows.sort_unstable_by_key(|&row| (stream.u32_at(u64::from(row)), row));
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(labels: &[u8], rows: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; 10];
        for &row in rows {
            counts[usize::from(labels[row as usize])] += 1;
        }
        counts
    }

    fn ascending(rows: &[u32]) -> bool {
        rows.windows(2).all(|w| w[0] < w[1])
    }

    proptest! {
        #[test]
        fn a_held_out_split_is_exact_disjoint_complete_and_stratified(
            labels in prop::collection::vec(0u8..10, 2..300), share in 0.0f64..1.0, seed in any::<u64>()
        ) {
            let n = (share * labels.len() as f64) as usize;
            let split = held_out(&labels, n, seed).unwrap();
            prop_assert_eq!(split.held_out.len(), n);
            prop_assert!(ascending(&split.train) && ascending(&split.held_out));
            let mut all = [split.train.clone(), split.held_out.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());
            let everything: Vec<u32> = (0..labels.len() as u32).collect();
            for (have, of) in counts(&labels, &split.held_out).into_iter().zip(counts(&labels, &everything)) {
                let ideal = of as f64 * n as f64 / labels.len() as f64;
                prop_assert!((have as f64 - ideal).abs() < 1.0, "{} of {}, ideally {}", have, of, ideal);
            }
            prop_assert_eq!(held_out(&labels, n, seed).unwrap(), split);
        }
    }

    #[test]
    fn fractions_are_stratified_and_nested() {
        let labels: Vec<u8> = (0..6000).map(|i| (i % 10) as u8).collect();
        let mut last: Vec<u32> = vec![];
        for (fraction, each) in [(0.01, 6), (0.03, 18), (0.1, 60), (0.3, 180), (1.0, 600)] {
            let rows = stratified_fraction(&labels, fraction, 5).unwrap();
            assert_eq!(counts(&labels, &rows), vec![each; 10]);
            assert!(ascending(&rows) && last.iter().all(|row| rows.contains(row)));
            last = rows;
        }
    }

    #[test]
    fn the_seed_decides_the_rows() {
        let labels: Vec<u8> = (0..1000).map(|i| (i % 10) as u8).collect();
        assert_ne!(held_out(&labels, 100, 1).unwrap(), held_out(&labels, 100, 2).unwrap());
        assert_eq!(held_out(&labels, 100, 1).unwrap(), held_out(&labels, 100, 1).unwrap());
        // The first rows are not favoured: of 100 rows among 1000, about 50 lie in the first half.
        let low =
            held_out(&labels, 100, 1).unwrap().held_out.iter().filter(|&&row| row < 500).count();
        assert!((30..=70).contains(&low), "{low}");
    }

    #[test]
    fn a_class_of_one_row_survives_a_small_fraction() {
        assert_eq!(
            counts(&[0, 0, 0, 7], &stratified_fraction(&[0, 0, 0, 7], 0.01, 0).unwrap())[7],
            1
        );
    }

    #[test]
    fn keeping_and_omitting_are_complements() {
        let labels = [3, 7, 8, 3, 0];
        assert_eq!(keep_classes(&labels, &[7, 8]), [1, 2]);
        assert_eq!(omit_classes(&labels, &[3]), [1, 2, 4]);
        assert_eq!(omit_classes(&labels, &[]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn arguments_outside_their_domain_are_errors() {
        let message = |e: DataError| e.to_string();
        assert_eq!(
            message(held_out(&[0, 1], 2, 0).unwrap_err()),
            "held-out rows: expected less than the 2 rows there are, got 2"
        );
        let error = stratified_fraction(&[0], f64::NAN, 0).unwrap_err();
        assert_eq!(
            message(error),
            "fraction of the training set: expected more than 0 and at most 1, got NaN"
        );
        assert!(stratified_fraction(&[0], 0.0, 0).is_err());
    }
}
