//! Norm and direction of features.

use candle_core::{D, DType, Result, Tensor, bail};

use super::operands;

/// How far the student's features are from being long and in the direction of their class:
///
/// `1/b · Σ_i (1 − ⟨s_i, e_i⟩ / max(‖s_i‖, ‖t_i‖))`, where `e_i = c / ‖c‖` for the centre c of
/// image i's class.
///
/// `student`, `teacher` `[b, d]`: pooled features of one width; `centres` `[k, d]`: the classes'
/// means of the teacher's features; `labels` u32 `[b]`, below k → scalar, from 0 to 2. Where the
/// student's features are longer than the teacher's it is 1 less a cosine, and their length does
/// not matter; where they are shorter it falls with their length. The teacher and the centres are
/// detached. Features and centres of length 0 count 1, with gradient 0 where both sides' are.
///
/// Source: Wang, Cheng, Duan, Wang, Feng and Kong 2023, "Improving knowledge distillation via
/// regularizing feature norm and direction", section 3. No deviation.
///
/// # Errors
/// When the shapes do not fit or are empty, or a label is no class.
pub fn norm_and_direction(
    student: &Tensor,
    teacher: &Tensor,
    centres: &Tensor,
    labels: &Tensor,
) -> Result<Tensor> {
    let teacher = operands::alike(student, teacher, "norm_and_direction")?;
    let (&[b, d], &[k, width]) = (student.dims(), centres.dims()) else {
        bail!(
            "norm_and_direction: expected features [b, d] and centres [k, d], got {:?} and {:?}",
            student.dims(),
            centres.dims()
        )
    };
    if d != width {
        bail!("norm_and_direction: expected centres of {d} features, got {width}")
    }
    if labels.dtype() != DType::U32 || labels.dims() != [b] {
        bail!(
            "norm_and_direction: expected u32 labels [{b}], got {:?} {:?}",
            labels.dtype(),
            labels.dims()
        )
    }
    let largest = labels.max(D::Minus1)?.to_scalar::<u32>()?;
    if largest as usize >= k {
        bail!("norm_and_direction: expected labels below {k}, got {largest}")
    }
    let directions = operands::unit(&centres.detach())?.index_select(labels, 0)?;
    let along = student.mul(&directions)?.sum(D::Minus1)?;
    let squares = |x: &Tensor| x.sqr()?.sum(D::Minus1);
    let (of_student, of_teacher) = (squares(student)?, squares(&teacher)?);
    // Not `maximum`, which gives half of the gradient to each where the two are equal.
    let longer = of_student.detach().ge(&of_teacher)?;
    let longest = longer.where_cond(&of_student, &of_teacher)?;
    (along.mul(&operands::inverse_root(&longest)?)?.neg()? + 1.)?.mean_all()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    fn labels() -> Result<Tensor> {
        Tensor::new(&[2u32, 0, 2, 1], &Device::Cpu)
    }

    /// Directions of the images' classes.
    fn directions(centres: &Tensor) -> Result<Tensor> {
        operands::unit(centres)?.index_select(&labels()?, 0)
    }

    #[test]
    fn it_is_zero_for_features_in_the_direction_of_their_class_that_are_as_long_as_the_teachers()
    -> Result<()> {
        let (t, centres) = (noise(&[4, 5], 1)?, noise(&[3, 5], 2)?);
        let lengths = t.sqr()?.sum_keepdim(1)?.sqrt()?;
        let along = directions(&centres)?.broadcast_mul(&lengths)?;
        for (factor, expected) in [(1.001, 0.), (7., 0.), (0.5, 0.5), (-7., 2.)] {
            let value = scalar(&norm_and_direction(&(&along * factor)?, &t, &centres, &labels()?)?);
            assert!((value - expected).abs() < 1e-5, "{factor}: {value}");
        }
        Ok(())
    }

    #[test]
    fn only_the_direction_of_a_centre_matters() -> Result<()> {
        let (s, t, centres) = (noise(&[4, 5], 1)?, noise(&[4, 5], 2)?, noise(&[3, 5], 3)?);
        let lengths = Tensor::new(&[[2f32], [0.1], [9.]], &Device::Cpu)?;
        let at = |centres: &Tensor| norm_and_direction(&s, &t, centres, &labels()?);
        let (a, b) = (scalar(&at(&centres)?), scalar(&at(&centres.broadcast_mul(&lengths)?)?));
        assert!((a - b).abs() < 1e-6, "{a} {b}");
        Ok(())
    }

    #[test]
    fn the_gradient_of_long_features_is_at_a_right_angle_to_them_and_of_short_ones_to_their_class()
    -> Result<()> {
        let (t, centres) = (noise(&[4, 5], 1)?, noise(&[3, 5], 2)?);
        for (factor, long) in [(9f64, true), (0.01, false)] {
            let s = (noise(&[4, 5], 3)? * factor)?;
            let g = gradient(&s, |s| norm_and_direction(s, &t, &centres, &labels()?))
                .expect("a gradient");
            let g = Tensor::from_vec(g, (4, 5), &Device::Cpu)?;
            let (s, e) = (s.to_dtype(DType::F64)?, directions(&centres)?.to_dtype(DType::F64)?);
            let size = scalar(&g.abs()?.max_all()?);
            // Short features only grow along the direction of their class.
            let rest = if long {
                g.mul(&s)?.sum(1)?.abs()?
            } else {
                let along = g.mul(&e)?.sum_keepdim(1)?;
                (g - e.broadcast_mul(&along)?)?.abs()?.max(1)?
            };
            let rest = scalar(&rest.max_all()?);
            assert!(rest < 1e-5 * size * if long { 20. } else { 1. }, "{rest} {size}");
        }
        Ok(())
    }

    #[test]
    fn features_and_centres_of_zeros_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, centres) = (noise(&[4, 5], 1)?, noise(&[3, 5], 2)?);
        let zeros = x.zeros_like()?;
        for (s, t, centres) in [
            (&zeros, &x, &centres),
            (&x, &zeros, &centres),
            (&zeros, &zeros, &centres),
            (&x, &x, &centres.zeros_like()?),
        ] {
            let (value, _) = finite(s, |s| norm_and_direction(s, t, centres, &labels()?));
            assert!((0. ..=2.).contains(&value), "{value}");
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t, centres) = (noise(&[4, 5], 1)?, noise(&[4, 5], 2)?, noise(&[3, 5], 3)?);
        for scale in [0.2, 1., 5.] {
            let s = (&x * scale)?;
            differences_agree(&s, 1, |s| {
                let (t, c) = (t.to_dtype(s.dtype())?, centres.to_dtype(s.dtype())?);
                norm_and_direction(s, &t, &c, &labels()?)
            });
        }
        assert!(gradient(&t, |t| norm_and_direction(&x, t, &centres, &labels()?)).is_none());
        assert!(gradient(&centres, |c| norm_and_direction(&x, &t, c, &labels()?)).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (x, centres, y) = (noise(&[4, 5], 1)?, noise(&[3, 5], 2)?, labels()?);
        for (t, centres, y) in [
            (&noise(&[4, 6], 1)?, &centres, &y),
            (&x, &noise(&[3, 6], 1)?, &y),
            (&x, &noise(&[2, 5], 1)?, &y),
            (&x, &centres, &y.narrow(0, 0, 3)?),
            (&x, &centres, &y.to_dtype(DType::I64)?),
        ] {
            refused(norm_and_direction(&x, t, centres, y), "norm_and_direction: ");
        }
        Ok(())
    }
}
