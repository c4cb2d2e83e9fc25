//! Pearson's correlation of the predictions of student and teacher, within cases and within
//! classes.

use candle_core::{Result, Tensor};
use kd_kernels::softmax::softmax;

use super::operands;

/// What is added to the product of two lengths.
const EPSILON: f64 = 1e-8;

/// How far the student's ranking of the classes is from the teacher's, by case:
///
/// `T² · (1 − 1/b · Σ_i ρ(q_i, p_i))`, where `p = softmax(teacher/T)`, `q = softmax(student/T)`,
/// p_i is row i, and ρ Pearson's correlation, with 1e-8 added to the product of the two lengths in
/// its denominator.
///
/// `student`, `teacher` `[b, c]`, logits, c ≥ 2; `temperature` T > 0 → scalar, from 0 to 2·T². The
/// teacher is detached. A row that is constant has the correlation 0.
///
/// Source: Huang, You, Wang, Qian and Xu 2022, "Knowledge distillation from a stronger teacher";
/// the factor T² and the constant are the official code's.
///
/// # Errors
/// When the shapes do not fit, or T is not finite and above 0.
pub fn inter_class(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let (q, p) = predictions(student, teacher, temperature, "inter_class")?;
    distance(&q, &p, temperature)
}

/// How far the student's ranking of the cases of the batch is from the teacher's, by class:
///
/// `T² · (1 − 1/c · Σ_j ρ(q_·j, p_·j))`, with the columns of the same predictions.
///
/// Shapes, source and errors are those of [`inter_class`].
pub fn intra_class(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let (q, p) = predictions(student, teacher, temperature, "intra_class")?;
    distance(&q.t()?, &p.t()?, temperature)
}

fn predictions(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
    loss: &str,
) -> Result<(Tensor, Tensor)> {
    let teacher = operands::logits(student, teacher, loss)?;
    operands::temperature(temperature, loss)?;
    Ok((softmax(&(student / temperature)?)?, softmax(&(teacher / temperature)?)?))
}

fn distance(a: &Tensor, b: &Tensor, temperature: f64) -> Result<Tensor> {
    correlations(a, b)?.mean_all()?.affine(-temperature * temperature, temperature * temperature)
}

/// Of each row, `[r, n]` → `[r]`.
fn correlations(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let centred = |x: &Tensor| x.broadcast_sub(&x.mean_keepdim(1)?);
    let length = |x: &Tensor| operands::sqrt(&x.sqr()?.sum(1)?);
    let (a, b) = (centred(a)?, centred(b)?);
    a.mul(&b)?.sum(1)?.div(&(length(&a)?.mul(&length(&b)?)? + EPSILON)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    type Loss = fn(&Tensor, &Tensor, f64) -> Result<Tensor>;

    const BOTH: [Loss; 2] = [inter_class, intra_class];

    #[test]
    fn both_are_zero_between_equals_and_ignore_a_shift_of_each_case() -> Result<()> {
        let (z, v) = ((noise(&[5, 7], 1)? * 3.)?, (noise(&[5, 7], 2)? * 3.)?);
        let shifts = noise(&[5, 1], 3)?;
        for loss in BOTH {
            assert!(scalar(&loss(&z, &z, 4.)?).abs() < 1e-4);
            let (a, b) =
                (scalar(&loss(&z, &v, 4.)?), scalar(&loss(&z.broadcast_add(&shifts)?, &v, 4.)?));
            assert!(a > 1. && a < 32. && (a - b).abs() < 1e-4 * a, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn a_linear_function_of_the_teachers_predictions_costs_nothing_where_they_may_differ()
    -> Result<()> {
        // Predictions at T = 1 that are half the teacher's and half constant.
        let v = noise(&[5, 7], 2)?.to_dtype(DType::F64)?;
        let z = ((softmax(&v)? * 0.5)? + 0.5 / 7.)?.log()?;
        // The constant of the denominator costs some 1e-6.
        for loss in BOTH {
            assert!(scalar(&loss(&z, &v, 1.)?).abs() < 1e-5);
        }
        // Twice the share of case 0: its own ranking stays, but not its rank among the cases.
        let p = softmax(&v)?;
        let half = Tensor::new(&[[0.2], [1.], [1.], [1.], [1.]], &Device::Cpu)?;
        let rest = ((half.ones_like()? - &half)? / 7.)?;
        let z = p.broadcast_mul(&half)?.broadcast_add(&rest)?.log()?;
        assert!(scalar(&inter_class(&z, &v, 1.)?).abs() < 1e-5);
        assert!(scalar(&intra_class(&z, &v, 1.)?) > 1e-3);
        Ok(())
    }

    #[test]
    fn predictions_that_are_constant_have_the_correlation_zero_and_give_numbers() -> Result<()> {
        let flat = Tensor::zeros((5, 7), DType::F32, &Device::Cpu)?;
        let v = noise(&[5, 7], 2)?;
        for loss in BOTH {
            let (value, _) = finite(&flat, |z| loss(z, &v, 4.));
            assert!((value - 16.).abs() < 1e-5, "{value}");
            finite(&v, |z| loss(z, &flat, 4.));
        }
        // The only case of a batch.
        let (z, v) = (noise(&[1, 7], 1)?, noise(&[1, 7], 2)?);
        let (value, g) = finite(&z, |z| intra_class(z, &v, 1.));
        assert!(value == 1. && g.iter().all(|g| *g == 0.), "{value} {g:?}");
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (z, v) = ((noise(&[5, 7], 1)? * 3.)?, (noise(&[5, 7], 2)? * 3.)?);
        for loss in BOTH {
            differences_agree(&z, 1, |z| loss(z, &v.to_dtype(z.dtype())?, 4.));
            assert!(gradient(&v, |v| loss(&z, v, 4.)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let z = noise(&[4, 7], 1)?;
        for loss in BOTH {
            for (v, temperature) in [(&noise(&[4, 6], 1)?, 4.), (&z, 0.), (&z, f64::NAN)] {
                assert!(loss(&z, v, temperature).is_err());
            }
            let one = noise(&[4, 1], 1)?;
            assert!(loss(&one, &one, 4.).is_err());
        }
        refused(inter_class(&z, &z, -1.), "inter_class: expected a finite temperature above 0");
        refused(intra_class(&z, &noise(&[3, 7], 1)?, 1.), "intra_class: expected logits");
        Ok(())
    }
}
