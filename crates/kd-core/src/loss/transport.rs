//! Optimal transport between what student and teacher say of the classes that are not the true one.

use candle_core::{Result, Tensor, bail};
use kd_kernels::linear::linear;
use kd_kernels::softmax::softmax;
use kd_kernels::{Activation, Precision};

use super::decoupled::without;
use super::operands;

const LOSS: &str = "transport_of_others";

/// What is added to a denominator of Sinkhorn's iterations, as in the official program.
const LEAST: f64 = 1e-8;

/// Sinkhorn's iterations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sinkhorn {
    /// What divides the costs, above 0: the smaller, the closer to optimal transport, and the more
    /// iterations it takes.
    pub regularisation: f64,
    /// How often both sides are brought to their probabilities, at least once.
    pub iterations: usize,
}

/// The cost of bringing the student's probabilities of the classes that are not the true one to the
/// teacher's:
///
/// `1/b · Σ_i Σ_jk F_ijk · C_jk`, with the flow `F_ijk = u_ij · K_jk · v_ik`, `K = exp(−C/ε)` and u
/// and v of Sinkhorn's iterations: from u = 1/(c − 1), in turn `v = q / (Kᵀ·u + 1e-8)` and `u = p /
/// (K·v + 1e-8)`. p and q are the softmaxes of the student's and the teacher's logits over T, the
/// true class left out.
///
/// `student`, `teacher` `[b, c]`, logits, c ≥ 2; `labels` u32 `[b]`; `costs` C `[c, c]`, from a
/// class of the student to one of the teacher, at least 0; `temperature` T > 0; ε is
/// [`Sinkhorn::regularisation`] → scalar. The teacher and the costs are detached. Gradients go
/// through all iterations. The true class has the probability 0 on both sides in place of being cut
/// out of C, which is the same, and lets all images share one K.
///
/// Source: Lv, Yang and Li 2024, "Wasserstein distance rivals Kullback-Leibler divergence for
/// knowledge distillation", section 3.1, as the official program has it. No deviation.
///
/// # Errors
/// When the shapes do not fit, a label is no class (those on an accelerator are not looked at), T
/// or ε is not finite and above 0, or there is no iteration.
pub fn transport_of_others(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    costs: &Tensor,
    temperature: f64,
    sinkhorn: Sinkhorn,
) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, LOSS)?;
    let is_label = operands::true_class(labels, student, LOSS)?;
    operands::temperature(temperature, LOSS)?;
    let (_, c) = student.dims2()?;
    if costs.dims() != [c, c] {
        bail!("{LOSS}: expected costs [{c}, {c}], got {:?}", costs.dims())
    }
    let Sinkhorn { regularisation, iterations } = sinkhorn;
    if !(regularisation.is_finite() && regularisation > 0.) || iterations == 0 {
        bail!(
            "{LOSS}: expected a finite regularisation above 0 and an iteration at least, got {regularisation} and {iterations}"
        )
    }
    let costs = costs.detach().to_dtype(student.dtype())?;
    let kernel = (&costs * (-1. / regularisation))?.exp()?;
    let turned = kernel.t()?.contiguous()?;
    let soft = |logits: &Tensor| softmax(&(without(logits, &is_label)? / temperature)?);
    let (p, q) = (soft(student)?, soft(&teacher)?);
    // Rows of u and v are images. In float32, whatever the precision of the networks' layers: the
    // kernel has numbers down to e^-13.
    let product =
        |x: &Tensor, w: &Tensor| Precision::Float32.during(|| linear(x, w, None, Activation::None));
    let share = 1. / (c - 1) as f64;
    let mut u = is_label.to_dtype(student.dtype())?.affine(-share, share)?;
    let mut v = q.clone();
    for _ in 0..iterations {
        v = q.div(&(product(&u, &turned)? + LEAST)?)?;
        u = p.div(&(product(&v, &kernel)? + LEAST)?)?;
    }
    u.mul(&product(&v, &kernel.mul(&costs)?)?)?.sum(1)?.mean_all()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    const FEW: Sinkhorn = Sinkhorn { regularisation: 0.05, iterations: 10 };

    /// Logits of both, labels, and costs of 0 from a class to itself.
    fn case() -> Result<(Tensor, Tensor, Tensor, Tensor)> {
        let labels = Tensor::new(&[2u32, 0, 5, 3], &Device::Cpu)?;
        let away = (Tensor::eye(6, DType::F32, &Device::Cpu)?.neg()? + 1.)?;
        let costs = ((noise(&[6, 6], 3)?.abs()? * 0.1)? + 0.3)?.mul(&away)?;
        Ok(((noise(&[4, 6], 1)? * 3.)?, (noise(&[4, 6], 2)? * 3.)?, labels, costs))
    }

    #[test]
    fn between_equals_nothing_is_moved_and_the_true_class_does_not_matter() -> Result<()> {
        let (s, t, y, costs) = case()?;
        let at = |s: &Tensor, t: &Tensor| transport_of_others(s, t, &y, &costs, 4., FEW);
        let (same, differ) = (scalar(&at(&t, &t)?), scalar(&at(&s, &t)?));
        // What regularisation moves although nothing has to be.
        assert!((0. ..0.01).contains(&same) && differ > 10. * same, "{same} {differ}");
        let classes = Tensor::arange(0u32, 6, &Device::Cpu)?.unsqueeze(0)?;
        let at_label = y.unsqueeze(1)?.broadcast_eq(&classes)?.to_dtype(DType::F32)?;
        let moved = scalar(&at(&(&s + (&at_label * 50.)?)?, &(&t - (&at_label * 7.)?)?)?);
        assert!((moved - differ).abs() < 1e-6, "{moved} {differ}");
        Ok(())
    }

    #[test]
    fn with_one_cost_for_all_other_classes_it_is_that_cost_times_the_mass_that_has_to_move()
    -> Result<()> {
        let (s, t, y, _) = case()?;
        let costs = (Tensor::eye(6, DType::F64, &Device::Cpu)?.affine(-0.5, 0.5))?;
        let (s, t) = (s.to_dtype(DType::F64)?, t.to_dtype(DType::F64)?);
        let many = Sinkhorn { regularisation: 0.05, iterations: 3000 };
        let value = scalar(&transport_of_others(&s, &t, &y, &costs, 4., many)?);
        let mut expected = 0.;
        let (s, t) = (s.to_vec2::<f64>()?, t.to_vec2::<f64>()?);
        for (i, y) in y.to_vec1::<u32>()?.into_iter().enumerate() {
            let soft = |z: &[f64]| {
                let mut powers: Vec<f64> = z.iter().map(|z| (z / 4.).exp()).collect();
                powers.remove(y as usize);
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(|p| p / sum).collect::<Vec<_>>()
            };
            let (p, q) = (soft(&s[i]), soft(&t[i]));
            expected += p.iter().zip(&q).map(|(p, q)| (p - q).max(0.)).sum::<f64>() * 0.5 / 4.;
        }
        assert!((value - expected).abs() < 1e-2 * expected, "{value} {expected}");
        Ok(())
    }

    #[test]
    fn mass_goes_from_the_students_class_to_the_teachers() -> Result<()> {
        // The student is sure of class 1, the teacher of class 2; the labels are 0.
        let sure = |class: usize| -> Result<Tensor> {
            let row: Vec<f32> = (0..3).map(|c| if c == class { 30. } else { 0. }).collect();
            Tensor::from_vec(row, (1, 3), &Device::Cpu)
        };
        let y = Tensor::new(&[0u32], &Device::Cpu)?;
        let costs = Tensor::new(&[[0f32, 0., 0.], [0., 0., 0.7], [0., 0.2, 0.]], &Device::Cpu)?;
        for (from, to, expected) in [(1, 2, 0.7), (2, 1, 0.2)] {
            let moved = transport_of_others(&sure(from)?, &sure(to)?, &y, &costs, 1., FEW)?;
            assert!((scalar(&moved) - expected).abs() < 1e-2, "{moved}");
        }
        Ok(())
    }

    #[test]
    fn extreme_logits_and_temperatures_give_numbers() -> Result<()> {
        let (s, t, y, costs) = case()?;
        for temperature in [1., 8., 1e6] {
            for scale in [0., 1., 30.] {
                finite(&(&s * scale)?, |s| {
                    transport_of_others(s, &(&t * scale)?, &y, &costs, temperature, FEW)
                });
            }
        }
        finite(&s, |s| transport_of_others(s, &t, &y, &costs.zeros_like()?, 4., FEW));
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher_or_the_costs() -> Result<()>
    {
        let (s, t, y, costs) = case()?;
        let few = Sinkhorn { regularisation: 0.1, iterations: 3 };
        differences_agree(&s, 1, |s| {
            transport_of_others(s, &t.to_dtype(s.dtype())?, &y, &costs, 4., few)
        });
        assert!(gradient(&t, |t| transport_of_others(&s, t, &y, &costs, 4., few)).is_none());
        assert!(gradient(&costs, |c| transport_of_others(&s, &t, &y, c, 4., few)).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (s, t, y, costs) = case()?;
        let start = "transport_of_others: expected";
        let at = |y: &Tensor, costs: &Tensor, temperature, sinkhorn| {
            transport_of_others(&s, &t, y, costs, temperature, sinkhorn)
        };
        refused(transport_of_others(&s, &noise(&[4, 5], 1)?, &y, &costs, 4., FEW), start);
        refused(at(&Tensor::new(&[2u32, 0, 6, 3], &Device::Cpu)?, &costs, 4., FEW), start);
        refused(at(&y, &costs.narrow(0, 0, 5)?, 4., FEW), start);
        refused(at(&y, &costs, 0., FEW), start);
        for (regularisation, iterations) in [(0., 10), (f64::NAN, 10), (0.05, 0)] {
            refused(at(&y, &costs, 4., Sinkhorn { regularisation, iterations }), start);
        }
        Ok(())
    }
}
