//! Cells that are measured on training images that were kept apart, so that settings can be chosen
//! without the test images.

use kd_core::data::Validation;
use kd_core::{Error, Result};
use kd_experiment::sweep::{ACCURACY, IMAGES};

/// The names of the metrics of such a cell, in the place of all that are of the test images.
pub const METRICS: [&str; 2] = [ACCURACY, IMAGES];

/// The metrics, for percent right of so many images.
pub fn metrics(accuracy: f64, images: usize) -> impl Iterator<Item = (String, f64)> {
    METRICS.map(str::to_owned).into_iter().zip([accuracy, images as f64])
}

/// Checks that a cell and its teacher keep the same images apart: what a teacher was trained on it
/// may pass on.
///
/// # Errors
/// Bad input that names what was expected and what was found.
pub fn check_teacher(own: Option<Validation>, teacher: Option<Validation>) -> Result<()> {
    if own == teacher {
        return Ok(());
    }
    let said = |part: Option<Validation>| match part {
        Some(Validation { share, seed }) => {
            format!("validation = {{ share = {share}, seed = {seed} }}")
        }
        None => "no validation".to_owned(),
    };
    Err(Error::bad_input(format!(
        "needs.teacher: expected a cell with {}, as this one, got one with {}",
        said(own),
        said(teacher)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_that_saw_images_to_validate_on_is_refused() {
        let part = |share| Some(Validation { share, seed: 1 });
        assert!(check_teacher(part(0.1), part(0.1)).is_ok() && check_teacher(None, None).is_ok());
        let error = check_teacher(part(0.1), None).expect_err("refused");
        assert!(error.is_bad_input());
        assert_eq!(
            error.to_string(),
            "needs.teacher: expected a cell with validation = { share = 0.1, seed = 1 }, as this one, got one with no validation"
        );
        assert!(check_teacher(None, part(0.1)).is_err());
        assert!(check_teacher(part(0.1), part(0.2)).is_err());
    }
}
