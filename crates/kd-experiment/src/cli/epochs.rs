//! The curves of a training run, as its `epochs.csv` has them.

/// A column of a table of epochs.
pub(super) struct Curve {
    /// Its name in the heading.
    pub name: String,
    /// The row's number, from 0, and its value, where that is a finite number. Rows are epochs in
    /// the order of training, through all phases.
    pub points: Vec<(f64, f64)>,
}

/// The columns of a table of epochs, without the first, which counts them within a phase, and those
/// without a number. Rows that are no CSV are left out: a curve is to be looked at, and the file of a
/// run that is being written may end anywhere.
pub(super) fn curves(table: &str) -> Vec<Curve> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(table.as_bytes());
    let names: Vec<String> =
        reader.headers().map(|h| h.iter().map(str::to_owned).collect()).unwrap_or_default();
    let records: Vec<csv::StringRecord> = reader.records().filter_map(|r| r.ok()).collect();
    let curves = names.into_iter().enumerate().skip(1).map(|(column, name)| {
        let values = records.iter().map(|record| record.get(column)?.parse().ok());
        let points = values
            .enumerate()
            .filter_map(|(row, value)| Some((row as f64, value?)))
            .filter(|(_, value): &(f64, f64)| value.is_finite())
            .collect();
        Curve { name, points }
    });
    curves.filter(|curve| !curve.points.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_finite_number_and_lines_that_are_cut_off_leave_their_neighbours_in_place()
    {
        let found =
            curves("epoch,loss,accuracy,note\n1,4,10,a\n2,2,,b\n3,inf\n4,1,nan,c\n5,0,30\n");
        let found: Vec<(&str, &[(f64, f64)])> =
            found.iter().map(|curve| (curve.name.as_str(), curve.points.as_slice())).collect();
        let loss: &[(f64, f64)] = &[(0., 4.), (1., 2.), (3., 1.), (4., 0.)];
        assert_eq!(found, [("loss", loss), ("accuracy", &[(0., 10.), (4., 30.)])]);
        for nothing in ["", "epoch,loss\n", "\u{0}\u{ff}", "epoch\n1\n"] {
            assert!(curves(nothing).is_empty(), "{nothing:?}");
        }
    }
}
