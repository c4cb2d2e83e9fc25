//! `gradient-limit`: section 2.1 of the paper, by measurement. As T grows, the gradient of the
//! softened loss tends to that of logit regression.
//!
//! Metrics, for the gradients g of T²·KL at T and l of logit regression with respect to a student's
//! logits on test images: `relative-difference` = |g − l| / |l|, and `cosine` = g·l / (|g|·|l|).

use std::path::Path;

use candle_core::Var;
use kd_core::loss::{logit_regression, softened_kl};
use kd_core::{Error, Result};
use kd_experiment::CellResult;

use super::{Logits, matrix};
use crate::spec::{CLASSES, GradientLimitCell};

/// The names of its metrics.
pub const METRICS: [&str; 2] = ["relative-difference", "cosine"];

/// Compares the two gradients for the student and the teacher whose cells are in these folders.
///
/// # Errors
/// Bad input when there are no images.
pub fn run(cell: &GradientLimitCell, student: &Path, teacher: &Path) -> Result<CellResult> {
    let first = |dir: &Path| -> Result<Vec<f32>> {
        let mut logits = Logits::read(dir)?.test;
        logits.truncate(cell.images * CLASSES);
        Ok(logits)
    };
    let student = Var::from_tensor(&matrix(&first(student)?)?)?;
    let teacher = matrix(&first(teacher)?)?;
    let gradient = |loss: candle_core::Tensor| -> Result<Vec<f64>> {
        let gradients = loss.backward()?;
        let g = gradients
            .get(&student)
            .ok_or_else(|| Error::bad_input("there are no images to take a gradient on"))?;
        Ok(g.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
    };
    let soft = gradient(softened_kl(&student, &teacher, cell.temperature)?)?;
    let limit = gradient(logit_regression(&student, &teacher)?)?;
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
    let gap: Vec<f64> = soft.iter().zip(&limit).map(|(a, b)| a - b).collect();
    let (ss, ll) = (dot(&soft, &soft), dot(&limit, &limit));
    Ok(CellResult::of(
        METRICS,
        [(dot(&gap, &gap) / ll).sqrt(), dot(&soft, &limit) / (ss * ll).sqrt()],
    ))
}
