//! Logits in units of their own spread.

use candle_core::{Result, Tensor, bail};

use super::divergences::divergences;
use super::operands;

/// What [`standardised`] adds to a standard deviation.
const EPSILON: f64 = 1e-7;

/// The least temperature of [`normalised_temperature`].
const LEAST: f64 = 1e-7;

/// The logits of each case, its mean taken out, over its standard deviation:
///
/// `(z_c − z̄) / (1e-7 + s(z))`, with `s(z)² = 1/(c − 1) · Σ_c (z_c − z̄)²`.
///
/// `logits` `[b, c]`, c ≥ 2 → `[b, c]`. The gradient flows through mean and deviation too. Student
/// and teacher in this form are compared by the shape of their logits alone: a loss of it does not
/// change where the logits of a case are shifted or scaled. A case whose logits are all equal
/// becomes 0.
///
/// Source: Sun, Ren, Li, Wang and Cao 2024, "Logit standardization in knowledge distillation",
/// with the constant of its official code. No deviation.
///
/// # Errors
/// When the logits are not `[b, c]` with c ≥ 2.
pub fn standardised(logits: &Tensor) -> Result<Tensor> {
    let (centred, deviation) = spread(logits)?;
    centred.broadcast_div(&(deviation + EPSILON)?)
}

/// Divergence of soft targets, with a temperature for each case and each side that is in proportion
/// to the spread of its logits (NormKD):
///
/// `1/b · Σ_i (T·s(t_i))² · KL(softmax(t_i / (T·s(t_i))) ‖ softmax(z_i / (T·s(z_i))))`, with the
/// standard deviation s as in [`standardised`].
///
/// `student` z, `teacher` t `[b, c]`, logits, c ≥ 2; `temperature` T > 0 → scalar. The teacher is
/// detached; the student's gradient flows through its deviation too. Since softmax ignores the
/// mean, the two distributions are those of the standardised logits at T, but for the constant of
/// 1e-7. A temperature below 1e-7 counts as 1e-7.
///
/// Source: Chi et al. 2023, "NormKD: normalized logits for knowledge distillation", as its official
/// code has it. No deviation.
///
/// # Errors
/// When the shapes do not fit, or T is not finite and above 0.
pub fn normalised_temperature(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "normalised_temperature")?;
    operands::temperature(temperature, "normalised_temperature")?;
    let own = |logits: &Tensor| -> Result<(Tensor, Tensor)> {
        let (centred, deviation) = spread(logits)?;
        let own = (deviation * temperature)?.maximum(LEAST)?;
        Ok((centred.broadcast_div(&own)?, own))
    };
    let ((student, _), (teacher, own)) = (own(student)?, own(&teacher)?);
    divergences(&student, &teacher)?.mul(&own.squeeze(1)?.sqr()?)?.mean_all()
}

/// The logits less each case's mean, `[b, c]`, and each case's standard deviation, `[b, 1]`.
fn spread(logits: &Tensor) -> Result<(Tensor, Tensor)> {
    let &[b, c] = logits.dims() else {
        bail!("standardised: expected logits [b, c], got {:?}", logits.dims())
    };
    if b == 0 || c < 2 {
        bail!("standardised: expected logits [b, c] with c >= 2, got [{b}, {c}]")
    }
    let centred = logits.broadcast_sub(&logits.mean_keepdim(1)?)?;
    let variance = (centred.sqr()?.sum_keepdim(1)? / (c - 1) as f64)?;
    let deviation = operands::sqrt(&variance)?;
    Ok((centred, deviation))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use kd_kernels::softened_kl::softened_kl;

    use super::*;
    use crate::loss::testing::{differences_agree, finite, flat, gradient, noise, refused, scalar};

    #[test]
    fn each_case_has_the_mean_zero_and_the_variance_one() -> Result<()> {
        let z = standardised(&((noise(&[4, 7], 1)? * 5.)? + 2.)?)?;
        for row in flat(&z)?.chunks(7) {
            assert!(row.iter().sum::<f64>().abs() < 1e-5, "{row:?}");
            let variance = row.iter().map(|x| x * x).sum::<f64>() / 6.;
            assert!((variance - 1.).abs() < 1e-5, "{variance}");
        }
        Ok(())
    }

    #[test]
    fn shifts_and_scales_of_a_case_change_nothing_and_have_no_gradient() -> Result<()> {
        let z = noise(&[4, 7], 1)?.to_dtype(DType::F64)?;
        let v = standardised(&noise(&[4, 7], 2)?.to_dtype(DType::F64)?)?;
        let factors = Tensor::new(&[[0.5], [3.], [10.], [1.]], &Device::Cpu)?;
        let shifts = Tensor::new(&[[1.], [-4.], [0.], [100.]], &Device::Cpu)?;
        let moved = z.broadcast_mul(&factors)?.broadcast_add(&shifts)?;
        let (a, b) = (flat(&standardised(&z)?)?, flat(&standardised(&moved)?)?);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
        let g = gradient(&z, |z| softened_kl(&standardised(z)?, &v, 2.)).expect("a gradient");
        let largest = g.iter().fold(0f64, |m, g| m.max(g.abs()));
        assert!(largest > 1e-3);
        for (g, z) in g.chunks(7).zip(flat(&z)?.chunks(7)) {
            let along = g.iter().zip(z).map(|(g, z)| g * z).sum::<f64>();
            assert!(g.iter().sum::<f64>().abs() < 1e-12 && along.abs() < 1e-6 * largest, "{along}");
        }
        Ok(())
    }

    #[test]
    fn equal_logits_become_zero_and_give_numbers() -> Result<()> {
        let z = Tensor::new(&[[3f32, 3., 3.], [1., 2., 4.]], &Device::Cpu)?;
        let v = standardised(&noise(&[2, 3], 2)?)?;
        assert_eq!(flat(&standardised(&z)?)?[..3], [0., 0., 0.]);
        finite(&z, |z| softened_kl(&standardised(z)?, &v, 2.));
        let huge = Tensor::new(&[[3e15f32, -3e15, 0.]], &Device::Cpu)?;
        let v = v.narrow(0, 0, 1)?;
        finite(&huge, |z| softened_kl(&standardised(z)?, &v, 2.));
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences() -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, standardised(&noise(&[4, 7], 2)?)?);
        differences_agree(&z, 1, |z| softened_kl(&standardised(z)?, &v.to_dtype(z.dtype())?, 2.));
        assert!(scalar(&softened_kl(&standardised(&z)?, &standardised(&z)?, 2.)?).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn with_the_temperature_of_its_spread_a_student_is_standardised_and_the_teachers_scale_a_weight()
    -> Result<()> {
        let f64s = |seed| noise(&[4, 7], seed)?.to_dtype(DType::F64)? * 3.;
        let (z, v) = (f64s(1)?, f64s(2)?);
        let (unit_z, unit_v) = (standardised(&z)?, standardised(&v)?);
        let plain = scalar(&softened_kl(&unit_z, &unit_v, 2.)?);
        for (z, v, factor) in
            [(&unit_z, &unit_v, 1.), (&z, &unit_v, 1.), (&z, &(&unit_v * 3.)?, 9.)]
        {
            let ours = scalar(&normalised_temperature(z, v, 2.)?);
            assert!((ours - factor * plain).abs() < 1e-6 * plain, "{ours} {plain}");
        }
        assert!(scalar(&normalised_temperature(&(&v * 5.)?, &v, 2.)?).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn temperatures_of_each_case_have_the_gradient_of_differences_and_none_for_the_teacher()
    -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        differences_agree(&z, 1, |z| normalised_temperature(z, &v.to_dtype(z.dtype())?, 2.));
        assert!(gradient(&v, |v| normalised_temperature(&z, v, 2.)).is_none());
        let alike = Tensor::new(&[[3f32, 3., 3.], [1., 2., 4.]], &Device::Cpu)?;
        let v = noise(&[2, 3], 2)?;
        finite(&alike, |z| normalised_temperature(z, &v, 2.));
        finite(&v, |z| normalised_temperature(z, &alike, 2.));
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let z = noise(&[4, 7], 1)?;
        for (v, temperature) in [(&noise(&[4, 6], 1)?, 4.), (&z, 0.), (&z, f64::NAN)] {
            refused(normalised_temperature(&z, v, temperature), "normalised_temperature: expected");
        }
        for dims in [&[4, 1][..], &[4], &[2, 2, 2]] {
            refused(standardised(&noise(dims, 1)?), "standardised: expected logits");
        }
        Ok(())
    }
}
