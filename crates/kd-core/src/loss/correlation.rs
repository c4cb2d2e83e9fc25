//! Correlation congruence.

use candle_core::{Result, Tensor, bail};

use super::operands;

/// Products of the distances of neighbours in the batch:
///
/// `1/(b − 1) · Σ_{i < b−1} Σ_d |δ(i, d)| · |δ(i + 1, d)|`, where `δ = student − teacher`.
///
/// `student`, `teacher` `[b, d]`: embeddings of one width → scalar. The derivative of |δ| at 0 is
/// 0. Gradients flow to **both**, since RepDistiller trains the embedding of the teacher's features
/// too; a caller with a fixed teacher detaches it. A batch of one has no neighbours: its loss is 0,
/// where PyTorch's mean of nothing is NaN.
///
/// Source: Peng et al. 2019, "Correlation congruence for knowledge distillation". Deviation: what
/// RepDistiller computes under this name, which the published numbers are of. The paper compares
/// kernels of all pairs of the batch instead, and adds the distance of the logits.
///
/// # Errors
/// When the shapes differ or are not `[b, d]`.
pub fn correlation_congruence(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (&[b, d], &[bt, dt]) = (student.dims(), teacher.dims()) else {
        bail!(
            "correlation_congruence: expected embeddings [b, d], got {:?} and {:?}",
            student.dims(),
            teacher.dims()
        )
    };
    if (b, d) != (bt, dt) || b * d == 0 {
        bail!(
            "correlation_congruence: expected embeddings of one shape, not empty, got [{b}, {d}] and the teacher's [{bt}, {dt}]"
        )
    }
    let distance = operands::size(&(student - teacher)?)?;
    if b == 1 {
        // Not `* 0.`, which Candle takes for no graph at all.
        return distance.mul(&distance.zeros_like()?)?.sum_all();
    }
    distance.narrow(0, 0, b - 1)?.mul(&distance.narrow(0, 1, b - 1)?)?.sum_all()?
        * (1. / (b - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_with_gradient_zero_between_equals_and_never_negative() -> Result<()> {
        let x = noise(&[5, 4], 1)?;
        let (value, g) = finite(&x, |s| correlation_congruence(s, &x));
        assert!(value == 0. && g.iter().all(|g| *g == 0.), "{value} {g:?}");
        assert!(scalar(&correlation_congruence(&x, &noise(&[5, 4], 2)?)?) > 0.1);
        Ok(())
    }

    #[test]
    fn the_derivative_of_a_distance_of_zero_is_zero() -> Result<()> {
        let student = Tensor::new(&[[1f32, 2.], [3., 3.]], &candle_core::Device::Cpu)?;
        let teacher = Tensor::new(&[[1f32, 5.], [1., 1.]], &candle_core::Device::Cpu)?;
        let (value, g) = finite(&student, |s| correlation_congruence(s, &teacher));
        assert_eq!((value, g), (6., vec![0., -2., 0., 3.]));
        Ok(())
    }

    #[test]
    fn an_image_that_is_matched_hides_its_neighbours() -> Result<()> {
        // Every second image matches: no pair of neighbours is apart.
        let (x, t) = (noise(&[4, 3], 1)?, noise(&[4, 3], 2)?);
        let half = Tensor::cat(
            &[&x.narrow(0, 0, 1)?, &t.narrow(0, 1, 1)?, &x.narrow(0, 2, 1)?, &t.narrow(0, 3, 1)?],
            0,
        )?;
        assert_eq!(scalar(&correlation_congruence(&half, &x)?), 0.);
        assert!(scalar(&correlation_congruence(&t, &x)?) > 0.1);
        Ok(())
    }

    #[test]
    fn a_batch_of_one_costs_nothing() -> Result<()> {
        let (value, g) =
            finite(&noise(&[1, 4], 1)?, |s| correlation_congruence(s, &noise(&[1, 4], 2)?));
        assert!(value == 0. && g == vec![0.; 4]);
        Ok(())
    }

    #[test]
    fn gradients_of_both_are_those_of_differences() -> Result<()> {
        let (x, t) = (noise(&[4, 3], 1)?, noise(&[4, 3], 2)?.to_dtype(candle_core::DType::F64)?);
        differences_agree(&x, 1, |s| correlation_congruence(s, &t));
        differences_agree(&x, 1, |s| correlation_congruence(&t, s));
        assert!(gradient(&t, |t| correlation_congruence(t, &t.detach())).is_some());
        Ok(())
    }

    #[test]
    fn shapes_that_differ_are_an_error_of_one_line() -> Result<()> {
        for (x, t) in [
            ([3usize, 5].to_vec(), [3usize, 4].to_vec()),
            (vec![3, 5], vec![4, 5]),
            (vec![3, 5, 1], vec![3, 5, 1]),
        ] {
            refused(
                correlation_congruence(&noise(&x, 1)?, &noise(&t, 1)?),
                "correlation_congruence: ",
            );
        }
        Ok(())
    }
}
