//! Soft targets whose cases weigh by how much there is to learn from them: by the entropy of the
//! teacher's prediction, and of the student's.

use candle_core::{Result, Tensor, bail};
use kd_kernels::softmax::log_softmax;

use super::divergences::divergences;
use super::operands;

/// How much each case weighs:
///
/// `w_i = H(t_i)/2 · (1 + H(s_i)/H₀)`, with the entropy H of the softmax at this temperature, in
/// nats.
///
/// `student` s, `teacher` t `[b, c]`, logits, c ≥ 2; `temperature` > 0; `bound` H₀ > 0, of which
/// ln c, the largest entropy, makes the bracket reach 2 → `[b]`, detached from both.
///
/// Source: Su et al. 2025, "EA-KD: entropy-based adaptive knowledge distillation". No deviation;
/// the official code adds 1e-10 in the logarithm.
///
/// # Errors
/// When the shapes do not fit, or temperature or bound is not finite and above 0.
pub fn entropy_weights(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
    bound: f64,
) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "entropy_weights")?;
    operands::temperature(temperature, "entropy_weights")?;
    if !(bound.is_finite() && bound > 0.) {
        bail!("entropy_weights: expected a finite bound above 0, got {bound}")
    }
    let (of_student, of_teacher) =
        (entropies(&student.detach(), temperature)?, entropies(&teacher, temperature)?);
    of_teacher.mul(&of_student.affine(0.5 / bound, 0.5)?)
}

fn entropies(logits: &Tensor, temperature: f64) -> Result<Tensor> {
    let log_p = log_softmax(&(logits / temperature)?)?;
    log_p.exp()?.mul(&log_p)?.sum(1)?.neg()
}

/// [`softened_kl`](super::softened_kl) with a weight for each case:
///
/// `T²/b · Σ_i w_i · KL(softmax(t_i/T) ‖ softmax(s_i/T))`.
///
/// `student` s, `teacher` t `[b, c]`, logits, c ≥ 2; `weights` `[b]`, detached; `temperature` T > 0
/// → scalar. The teacher is detached.
///
/// # Errors
/// When the shapes do not fit, or T is not finite and above 0.
pub fn weighted_softened_kl(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
    weights: &Tensor,
) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "weighted_softened_kl")?;
    operands::temperature(temperature, "weighted_softened_kl")?;
    if weights.dims() != [student.dim(0)?] {
        bail!(
            "weighted_softened_kl: expected weights [{}], got {:?}",
            student.dim(0)?,
            weights.dims()
        )
    }
    let divergences = divergences(&(student / temperature)?, &(teacher / temperature)?)?;
    divergences.mul(&weights.detach())?.mean_all()? * (temperature * temperature)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use kd_kernels::softened_kl::softened_kl;

    use super::*;
    use crate::loss::testing::{differences_agree, flat, gradient, noise, refused, scalar};

    fn wave(a: f64, b: f64, scale: f64) -> Result<Tensor> {
        let values: Vec<f64> = (0..40).map(|i| scale * (a * f64::from(i) + b).sin()).collect();
        Tensor::from_vec(values, (4, 10), &Device::Cpu)
    }

    #[test]
    fn weights_are_those_of_the_reference_program() -> Result<()> {
        let (z, v) = (wave(0.7, 0.1, 3.)?, wave(1.3, 0.5, 4.)?);
        let got = flat(&entropy_weights(&z, &v, 3., 10f64.ln())?)?;
        let expected = [1.89469636839, 1.90841560534, 1.88939642527, 1.88654091375];
        // It adds 1e-10 in its logarithms.
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-8, "{got}, expected {expected}");
        }
        Ok(())
    }

    #[test]
    fn a_sure_teacher_weighs_nothing_and_doubt_of_both_the_logarithm_of_the_classes() -> Result<()>
    {
        let doubt = Tensor::zeros((1, 7), DType::F32, &Device::Cpu)?;
        let sure = Tensor::new(&[[90f32, 0., 0., 0., 0., 0., 0.]], &Device::Cpu)?;
        let most = 7f64.ln();
        let weight = |s: &Tensor, t: &Tensor| -> Result<f64> {
            Ok(flat(&entropy_weights(s, t, 1., most)?)?[0])
        };
        assert!(weight(&doubt, &sure)?.abs() < 1e-6);
        assert!((weight(&sure, &doubt)? - most / 2.).abs() < 1e-6);
        assert!((weight(&doubt, &doubt)? - most).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn equal_weights_scale_the_divergence_of_soft_targets() -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        let weights = (Tensor::ones(4, DType::F32, &Device::Cpu)? * 2.5)?;
        let (ours, plain) = (
            scalar(&weighted_softened_kl(&z, &v, 4., &weights)?),
            scalar(&softened_kl(&z, &v, 4.)?),
        );
        assert!((ours - 2.5 * plain).abs() < 1e-5 * ours, "{ours} {plain}");
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_at_fixed_weights_and_none_reaches_the_teacher()
    -> Result<()> {
        let (z, v) = (wave(0.7, 0.1, 3.)?, wave(1.3, 0.5, 4.)?);
        let fixed = entropy_weights(&z, &v, 3., 10f64.ln())?;
        differences_agree(&z, 1, |z| weighted_softened_kl(z, &v, 4., &fixed));
        let of = |z: &Tensor, v: &Tensor| {
            weighted_softened_kl(z, v, 4., &entropy_weights(z, v, 3., 10f64.ln())?)
        };
        assert_eq!(
            gradient(&z, |z| of(z, &v)),
            gradient(&z, |z| weighted_softened_kl(z, &v, 4., &fixed))
        );
        assert!(gradient(&v, |v| of(&z, v)).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (z, small) = (noise(&[4, 7], 1)?, noise(&[4, 6], 1)?);
        for (v, temperature, bound) in
            [(&small, 3., 1.), (&z, 0., 1.), (&z, 3., 0.), (&z, 3., f64::NAN)]
        {
            refused(entropy_weights(&z, v, temperature, bound), "entropy_weights: expected");
        }
        let weights = noise(&[3], 1)?;
        refused(
            weighted_softened_kl(&z, &z, 4., &weights),
            "weighted_softened_kl: expected weights [4], got [3]",
        );
        Ok(())
    }
}
