//! Wasserstein distance of features that are taken for normally distributed.

use candle_core::{D, Result, Tensor, bail};

use super::operands;

const LOSS: &str = "gaussian_distances";

/// What is added to a variance, as in the official program.
const LEAST: f64 = 1e-5;

/// How far apart the distributions of features over the pixels are, in their means and in their
/// standard deviations:
///
/// `1/(b·g²) · Σ (μ_S − μ_T)²` and `1/(b·g²) · Σ (σ_S − σ_T)²`, summed over images, channels and
/// the cells of a grid of g², where μ is the mean of a channel's pixels in a cell, and σ the root of
/// their variance, with n − 1, plus 1e-5. The sum of both is the squared 2-Wasserstein distance of
/// normal distributions whose features are independent.
///
/// `student`, `teacher` `[b, c, h, w]`: maps of one shape; `side` g → two scalars, of the means and
/// of the deviations. The teacher is detached.
///
/// Source: Lv, Yang and Li 2024, "Wasserstein distance rivals Kullback-Leibler divergence for
/// knowledge distillation", section 3.2, as the official program has it. Deviation: the program
/// takes grids whose cells overlap too, which are refused here; its experiments have none.
///
/// # Errors
/// When the shapes differ or are empty, or the maps do not fall into g² cells of at least 2 pixels.
pub fn gaussian_distances(student: &Tensor, teacher: &Tensor, side: usize) -> Result<[Tensor; 2]> {
    let teacher = operands::alike(student, teacher, LOSS)?;
    let &[b, _, h, w] = student.dims() else {
        bail!("{LOSS}: expected maps [b, c, h, w], got {:?}", student.dims())
    };
    if !fits(h, w, side) {
        bail!("{LOSS}: expected {side}² cells of at least 2 pixels, got a map of {h}x{w}")
    }
    let ([means, deviations], [of_teacher, its_deviations]) =
        (moments(student, side)?, moments(&teacher, side)?);
    let scale = 1. / (b * side * side) as f64;
    let distance = |s: &Tensor, t: &Tensor| (s - t)?.sqr()?.sum_all()? * scale;
    Ok([distance(&means, &of_teacher)?, distance(&deviations, &its_deviations)?])
}

/// Whether a map of this height and width falls into `side`² cells of at least 2 pixels.
pub(crate) fn fits(h: usize, w: usize, side: usize) -> bool {
    side > 0 && h.is_multiple_of(side) && w.is_multiple_of(side) && (h / side) * (w / side) >= 2
}

/// Means and standard deviations of the pixels of each cell, both `[b, c, side²]`.
fn moments(map: &Tensor, side: usize) -> Result<[Tensor; 2]> {
    let (b, c, h, w) = map.dims4()?;
    let (rows, columns) = (h / side, w / side);
    let cells = map.reshape((b * c, side, rows, side, columns))?.transpose(2, 3)?.reshape((
        b,
        c,
        side * side,
        rows * columns,
    ))?;
    let means = cells.mean_keepdim(D::Minus1)?;
    let squares = cells.broadcast_sub(&means)?.sqr()?.sum(D::Minus1)?;
    let variances = (squares * (1. / (rows * columns - 1) as f64))?;
    Ok([means.squeeze(D::Minus1)?, (variances + LEAST)?.sqrt()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::cells::cell_means;
    use crate::loss::testing::{differences_agree, flat, gradient, noise, refused, scalar};

    #[test]
    fn both_are_zero_for_pixels_that_change_places_within_a_cell() -> Result<()> {
        let x = noise(&[2, 3, 4, 4], 1)?;
        let turned = Tensor::cat(&[x.narrow(2, 2, 2)?, x.narrow(2, 0, 2)?], 2)?;
        for distance in gaussian_distances(&x, &turned, 1)? {
            assert!(scalar(&distance) < 1e-10, "{distance}");
        }
        for distance in gaussian_distances(&x, &turned, 2)? {
            assert!(scalar(&distance) > 1e-2, "{distance}");
        }
        Ok(())
    }

    #[test]
    fn a_shift_moves_the_means_and_a_scale_around_the_mean_the_deviations() -> Result<()> {
        let x = noise(&[2, 3, 4, 4], 1)?;
        let [means, deviations] = gaussian_distances(&(&x + 0.5)?, &x, 2)?;
        assert!((scalar(&means) - 3. * 0.25).abs() < 1e-5, "{means}");
        assert!(scalar(&deviations) < 1e-10, "{deviations}");
        let centre = x.mean_keepdim((2, 3))?;
        let wide = x.broadcast_sub(&centre)?.affine(2., 0.)?.broadcast_add(&centre)?;
        let [means, deviations] = gaussian_distances(&wide, &x, 1)?;
        assert!(scalar(&means) < 1e-10 && scalar(&deviations) > 0.1, "{means} {deviations}");
        Ok(())
    }

    #[test]
    fn the_means_are_those_of_the_cells() -> Result<()> {
        let x = noise(&[2, 3, 8, 4], 1)?;
        for side in [1, 2, 4] {
            let [means, _] = moments(&x, side)?;
            let expected = flat(&cell_means(&x, side)?)?;
            for (a, b) in flat(&means)?.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-6, "{side}: {a} {b}");
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (s, t) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 3, 4, 4], 2)?);
        for side in [1, 2] {
            for part in [0, 1] {
                let loss = |s: &Tensor, t: &Tensor| -> Result<Tensor> {
                    Ok(gaussian_distances(s, t, side)?[part].clone())
                };
                differences_agree(&s, 1, |s| loss(s, &t.to_dtype(s.dtype())?));
                assert!(gradient(&t, |t| loss(&s, t)).is_none());
            }
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let x = noise(&[2, 3, 4, 4], 1)?;
        let first =
            |s: &Tensor, t: &Tensor, side| gaussian_distances(s, t, side).map(|[means, _]| means);
        for (s, t, side) in [
            (&x, &noise(&[2, 3, 4, 2], 1)?, 1),
            (&x, &x, 0),
            (&x, &x, 3),
            (&x, &x, 4),
            (&noise(&[2, 3], 1)?, &noise(&[2, 3], 1)?, 1),
        ] {
            refused(first(s, t, side), "gaussian_distances: expected");
        }
        Ok(())
    }
}
