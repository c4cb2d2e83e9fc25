//! Relational knowledge distillation.

use candle_core::{Result, Tensor};
use kd_kernels::triples::{angle_distance, squared_distances};

use super::operands;

/// The squared distance below which two vectors of a batch count as 1e-6 apart: RepDistiller's
/// clamp.
const NEAREST_SQUARED: f64 = 1e-12;

/// [`relational_distance`] and [`relational_angle`], for the price of one set of distances. Shapes
/// and errors are theirs.
pub fn relations(student: &Tensor, teacher: &Tensor) -> Result<[Tensor; 2]> {
    let (student, teacher) = operands::vectors(student, teacher, "relational")?;
    let (student, teacher) = (squared_distances(&student)?, squared_distances(&teacher)?);
    Ok([distance_of(&student, &teacher)?, angle_distance(&student, &teacher)?])
}

/// `distance_weight` · [`relational_distance`] + `angle_weight` · [`relational_angle`].
pub fn relational(
    student: &Tensor,
    teacher: &Tensor,
    distance_weight: f64,
    angle_weight: f64,
) -> Result<Tensor> {
    let [distance, angle] = relations(student, teacher)?;
    (distance * distance_weight)? + (angle * angle_weight)?
}

/// Distance of the distances within a batch:
///
/// `1/b² · Σ_ij h(d_S(i, j) − d_T(i, j))`, where `d(i, j) = ‖x_i − x_j‖ / m`, m is the mean of
/// `‖x_i − x_j‖` over i ≠ j, and h is Huber's function with δ = 1 (PyTorch's smooth L1).
///
/// `student` `[b, d]`, `teacher` `[b, d']` → scalar. The teacher is detached. Two equal vectors
/// count as 1e-6 apart, with gradient 0. A batch of one has no distances: its loss is 0, where
/// PyTorch's mean of nothing is NaN.
///
/// Source: Park et al. 2019, "Relational knowledge distillation", section 3.2.1. Deviation, the
/// official code's: the mean over all b² pairs, i = j among them.
///
/// # Errors
/// When the shapes do not fit.
pub fn relational_distance(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = operands::vectors(student, teacher, "relational_distance")?;
    distance_of(&squared_distances(&student)?, &squared_distances(&teacher)?)
}

/// Distance of the angles of all triples of a batch:
///
/// `1/b³ · Σ_ijk h(cos_S(i, j, k) − cos_T(i, j, k))`, where `cos(i, j, k)` is the cosine between
/// `x_j − x_i` and `x_k − x_i`, and h is Huber's function with δ = 1.
///
/// `student` `[b, d]`, `teacher` `[b, d']` → scalar. The teacher is detached. Where two of the
/// three are equal the cosine is 0, with gradient 0. Cosines are taken from the squared distances
/// of the three (see [`angle_distance`]), so that memory and time do not grow with b³ · d.
///
/// Source: Park et al. 2019, "Relational knowledge distillation", section 3.2.2. Deviation, the
/// official code's: the mean over all b³ triples, those with equal members among them.
///
/// # Errors
/// When the shapes do not fit.
pub fn relational_angle(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = operands::vectors(student, teacher, "relational_angle")?;
    angle_distance(&squared_distances(&student)?, &squared_distances(&teacher)?)
}

fn distance_of(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let b = student.dim(0)?;
    let others = (1. - Tensor::eye(b, student.dtype(), student.device())?)?;
    let scaled = |squares: &Tensor| -> Result<Tensor> {
        let distances = operands::root(squares, NEAREST_SQUARED)?.mul(&others)?;
        // All distances but those to itself are above 0. At b = 1 there is none, and no mean to
        // divide by.
        let mean = (distances.sum_all()? * (1. / (b * (b - 1)).max(1) as f64))?;
        if b == 1 { Ok(distances) } else { distances.broadcast_div(&mean) }
    };
    operands::mean_smooth_l1(&(scaled(student)? - scaled(teacher)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn both_are_zero_between_equals_and_between_similar_figures() -> Result<()> {
        let x = noise(&[5, 2], 1)?;
        let (sin, cos) = 0.7f32.sin_cos();
        let turned = x.matmul(&Tensor::new(&[[cos, sin], [-sin, cos]], x.device())?)?;
        let moved = ((turned * 3.)? + 4.)?;
        for loss in [relational_distance, relational_angle] {
            assert_eq!(scalar(&loss(&x, &x)?), 0.);
            assert!(scalar(&loss(&moved, &x)?) < 1e-10);
            assert!(scalar(&loss(&x, &noise(&[5, 3], 2)?)?) > 1e-3);
        }
        Ok(())
    }

    #[test]
    fn a_right_angled_triangle_against_an_equilateral_one() -> Result<()> {
        let student = Tensor::new(&[[0f32, 0.], [3., 0.], [0., 3.]], &candle_core::Device::Cpu)?;
        let teacher =
            Tensor::new(&[[0f32, 0.], [2., 0.], [1., 3f32.sqrt()]], &candle_core::Device::Cpu)?;
        // Six triples of different members: two at the right angle (cosine 0 against ½), four at
        // the others (√½ against ½).
        let (right, sharp) = (0.5f64, 0.5f64.sqrt() - 0.5);
        let expected = (2. * 0.5 * right * right + 4. * 0.5 * sharp * sharp) / 27.;
        let value = scalar(&relational_angle(&student, &teacher)?);
        assert!((value - expected).abs() < 1e-7, "{value} {expected}");
        Ok(())
    }

    #[test]
    fn the_sum_is_weighted() -> Result<()> {
        let (x, t) = (noise(&[5, 4], 1)?, noise(&[5, 3], 2)?);
        let parts =
            25. * scalar(&relational_distance(&x, &t)?) + 50. * scalar(&relational_angle(&x, &t)?);
        let sum = scalar(&relational(&x, &t, 25., 50.)?);
        assert!((sum - parts).abs() < 1e-5 * parts, "{sum} {parts}");
        Ok(())
    }

    #[test]
    fn equal_vectors_and_vectors_of_zeros_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, t) = (noise(&[4, 6], 1)?, noise(&[4, 5], 2)?);
        let one = x.narrow(0, 0, 1)?;
        let twins = Tensor::cat(&[&one, &one, &x.narrow(0, 1, 1)?, &one.zeros_like()?], 0)?;
        for student in [twins, x.zeros_like()?, x.ones_like()?] {
            for teacher in [&t, &t.zeros_like()?] {
                finite(&student, |s| relational_distance(s, teacher));
                let (_, g) = finite(&student, |s| relational_angle(s, teacher));
                assert!(g.iter().all(|g| g.abs() < 1e3), "{g:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn near_vectors_keep_the_digits_of_their_angles_far_from_the_origin() -> Result<()> {
        let step = 2f32.powi(-10);
        let near = Tensor::new(
            &[[0f32, 0.], [step, 0.], [1., 1.], [0., step]],
            &candle_core::Device::Cpu,
        )?;
        // The sums are exact: the same figure elsewhere.
        let moved = (&near + 100.)?;
        assert_eq!(scalar(&relational(&moved, &near, 25., 50.)?), 0.);
        Ok(())
    }

    #[test]
    fn a_batch_of_one_costs_nothing() -> Result<()> {
        for loss in [relational_distance, relational_angle] {
            let (value, g) = finite(&noise(&[1, 4], 1)?, |s| loss(s, &noise(&[1, 4], 2)?));
            assert!(value == 0. && g == vec![0.; 4], "{value} {g:?}");
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[4, 6], 1)?, noise(&[4, 5], 2)?);
        for loss in [relational_distance, relational_angle] {
            differences_agree(&x, 1, |s| loss(s, &t.to_dtype(s.dtype())?));
            assert!(gradient(&t, |t| loss(&x, t)).is_none());
        }
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_of_one_line() -> Result<()> {
        for t in [noise(&[3, 4], 1)?, noise(&[4, 4, 1], 1)?] {
            refused(relational(&noise(&[4, 4], 1)?, &t, 1., 1.), "relational: ");
        }
        Ok(())
    }
}
