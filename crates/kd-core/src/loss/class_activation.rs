//! Class activation maps: where in an image a network finds each class.

use candle_core::{Result, Tensor, bail};

use super::cells::cell_means;
use super::{hint, operands};

/// Distance of the class activation maps of student and teacher:
///
/// the mean of `(n(A_S) − n(A_T))²` over images, classes and places, where A are the maps, averaged
/// to `side`² places, and n brings the map of each class of each image to length 1, or leaves it as
/// it is where `normalised` is off.
///
/// `student` `[b, k, h, w]`, `teacher` `[b, k, h', w']`: maps of the k classes; their sizes may
/// differ → scalar. The teacher is detached. A map of zeros stays one, with gradient 0.
///
/// Source: Guo, Yan, Li and Lin 2023, "Class attention transfer based knowledge distillation",
/// section 3. No deviation.
///
/// # Errors
/// When the shapes do not fit, or side is 0.
pub fn class_activation(
    student: &Tensor,
    teacher: &Tensor,
    side: usize,
    normalised: bool,
) -> Result<Tensor> {
    let (&[b, k, _, _], &[bt, kt, _, _]) = (student.dims(), teacher.dims()) else {
        bail!(
            "class_activation: expected maps [b, k, h, w], got {:?} of the student and {:?} of the teacher",
            student.dims(),
            teacher.dims()
        )
    };
    if (b, k) != (bt, kt) {
        bail!(
            "class_activation: expected maps of one batch and as many classes, got {:?} of the student and {:?} of the teacher",
            student.dims(),
            teacher.dims()
        )
    }
    let seen = |maps: &Tensor| {
        let means = cell_means(maps, side)?;
        if normalised { operands::unit(&means) } else { Ok(means) }
    };
    hint(&seen(student)?, &seen(&teacher.detach())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_between_equals_and_sees_no_more_than_the_means_of_its_places() -> Result<()> {
        let x = noise(&[2, 3, 4, 4], 1)?;
        for normalised in [false, true] {
            assert_eq!(scalar(&class_activation(&x, &x, 2, normalised)?), 0.);
            // A checkerboard has no mean in a window of 2×2.
            let board: Vec<f32> = (0..16).map(|i| [1., -1.][(i / 4 + i % 4) % 2]).collect();
            let board = Tensor::from_vec(board, (1, 1, 4, 4), x.device())?;
            let other = class_activation(&x.broadcast_add(&board)?, &x, 2, normalised)?;
            assert!(scalar(&other) < 1e-10, "{other}");
            let fine = class_activation(&x.broadcast_add(&board)?, &x, 4, normalised)?;
            assert!(scalar(&fine) > 1e-2, "{fine}");
        }
        Ok(())
    }

    #[test]
    fn how_strong_a_class_is_matters_only_where_maps_are_not_normalised() -> Result<()> {
        let x = noise(&[2, 3, 4, 4], 1)?;
        let strengths = Tensor::new(&[2f32, 0.5, 9.], x.device())?.reshape((1, 3, 1, 1))?;
        let other = x.broadcast_mul(&strengths)?;
        assert!(scalar(&class_activation(&other, &x, 2, true)?) < 1e-12);
        assert!(scalar(&class_activation(&other, &x, 2, false)?) > 1e-2);
        Ok(())
    }

    #[test]
    fn maps_of_zeros_give_numbers_in_value_and_gradient() -> Result<()> {
        let x = noise(&[2, 3, 4, 4], 1)?;
        let dark = Tensor::cat(&[&x.narrow(1, 0, 2)?, &x.narrow(1, 2, 1)?.zeros_like()?], 1)?;
        for s in [&x, &dark, &x.zeros_like()?] {
            for t in [&x, &dark] {
                finite(s, |s| class_activation(s, t, 2, true));
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        // The sizes of the two differ.
        let (x, t) = (noise(&[2, 3, 2, 2], 1)?, noise(&[2, 3, 4, 4], 2)?);
        for (side, normalised) in [(2, false), (2, true), (4, true), (1, false)] {
            let loss = |s: &Tensor, t: &Tensor| class_activation(s, t, side, normalised);
            differences_agree(&x, 1, |s| loss(s, &t.to_dtype(s.dtype())?));
            assert!(gradient(&t, |t| loss(&x, t)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let x = noise(&[2, 3, 4, 4], 1)?;
        for t in [noise(&[2, 4, 4, 4], 1)?, noise(&[3, 3, 4, 4], 1)?, noise(&[2, 3], 1)?] {
            refused(class_activation(&x, &t, 2, true), "class_activation: ");
        }
        refused(class_activation(&x, &x, 0, true), "cells: ");
        Ok(())
    }
}
