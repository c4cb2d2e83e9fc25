//! The points of a sweep: every combination of the axes' values.

use toml::Value;

use super::axis::Axis;
use crate::error::{Error, Result};

/// Most cells of a sweep. What is larger was hardly meant: a grid of three axes with ten values has
/// as many.
pub const MAX_CELLS: usize = 1000;

/// One value for each axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The values, in the order of the axes.
    pub values: Vec<Value>,
}

impl Point {
    /// Every combination, the first axis varying slowest.
    ///
    /// # Errors
    /// Bad input where the points with so many seeds each are more than [`MAX_CELLS`] cells.
    pub fn product(axes: &[Axis], seeds: usize) -> Result<Vec<Self>> {
        let count = axes.iter().map(|axis| axis.values.len()).fold(1, usize::saturating_mul);
        let cells = count.saturating_mul(seeds);
        if cells > MAX_CELLS {
            return Err(Error::bad_input(format!(
                "--over: expected at most {MAX_CELLS} cells, got {count} points with {seeds} seeds, {cells} cells"
            )));
        }
        let mut points = vec![Self { values: Vec::new() }];
        for axis in axes {
            let longer = |point: &Self, value: &Value| Self {
                values: [point.values.as_slice(), std::slice::from_ref(value)].concat(),
            };
            points = points
                .iter()
                .flat_map(|point| axis.values.iter().map(move |value| longer(point, value)))
                .collect();
        }
        Ok(points)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn axes(sizes: &[usize]) -> Vec<Axis> {
        let axis = |(i, n): (usize, &usize)| Axis {
            path: format!("a{i}"),
            values: (0..*n as i64).map(Value::Integer).collect(),
        };
        sizes.iter().enumerate().map(axis).collect()
    }

    proptest! {
        #[test]
        fn a_product_has_every_combination_once_in_the_order_of_counting(
            sizes in prop::collection::vec(1usize..5, 1..4)
        ) {
            let points = Point::product(&axes(&sizes), 1).expect("a small grid");
            prop_assert_eq!(points.len(), sizes.iter().product::<usize>());
            let numbers: Vec<Vec<i64>> = points
                .iter()
                .map(|point| point.values.iter().map(|v| v.as_integer().expect("a number")).collect())
                .collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), points.len());
        }
    }

    #[test]
    fn a_grid_of_more_cells_than_the_limit_is_refused_before_it_is_made() {
        assert_eq!(Point::product(&axes(&[10, 10, 10]), 1).map(|all| all.len()).ok(), Some(1000));
        let error = Point::product(&axes(&[10, 10, 10]), 2).expect_err("too many");
        assert!(error.is_bad_input());
        let what = "expected at most 1000 cells, got 1000 points with 2 seeds, 2000 cells";
        assert!(error.to_string().contains(what), "{error}");
        assert!(Point::product(&axes(&[1000; 30]), usize::MAX).is_err());
    }
}
