//! Logit regression: what distillation becomes as the temperature grows.

use candle_core::{D, Result, Tensor};

/// Half the squared distance between the logits, each case's mean taken out:
///
/// `1/(2·b·n) · Σ_b Σ_c ((z_c − z̄) − (v_c − v̄))²` for student logits `z` and teacher logits `v`,
/// both `[b, n]`.
///
/// This is the limit of [`softened_kl`](super::softened_kl) (which carries its factor T²) as T → ∞:
/// Hinton, Vinyals and Dean 2015, section 2.1, equations 2 to 4, where the gradient is `(z −
/// v)/(N·T²)` before that factor. Mean over the batch. The teacher's logits are detached.
///
/// # Errors
/// When the shapes differ.
pub fn logit_regression(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (batch, classes) = student.dims2()?;
    let distance = (student - &teacher.detach())?;
    let centred = distance.broadcast_sub(&distance.mean_keepdim(D::Minus1)?)?;
    centred.sqr()?.sum_all()? * (0.5 / (batch * classes) as f64)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::loss::softened_kl;

    fn logits(rows: usize, scale: f64, phase: f64) -> Tensor {
        let values: Vec<f32> =
            (0..rows * 10).map(|i| (scale * (0.7 * i as f64 + phase).sin()) as f32).collect();
        Tensor::from_vec(values, (rows, 10), &Device::Cpu).expect("a tensor")
    }

    #[test]
    fn the_softened_divergence_tends_to_it_in_value_and_gradient_as_the_temperature_grows()
    -> Result<()> {
        let (student, teacher) = (Var::from_tensor(&logits(4, 3., 0.1))?, logits(4, 4., 0.5));
        let limit = logit_regression(&student, &teacher)?;
        let gradient =
            limit.backward()?.get(&student).expect("a gradient").flatten_all()?.to_vec1::<f32>()?;
        let mut last = f32::INFINITY;
        for temperature in [4., 40., 400.] {
            let soft = softened_kl(&student, &teacher, temperature)?;
            let g = soft
                .backward()?
                .get(&student)
                .expect("a gradient")
                .flatten_all()?
                .to_vec1::<f32>()?;
            let gap = g.iter().zip(&gradient).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
            assert!(gap < last / 3., "gap {gap} at T = {temperature}, {last} before");
            last = gap;
        }
        assert!(last < 2e-3, "{last}");
        Ok(())
    }

    #[test]
    fn it_ignores_a_shift_of_each_case_and_is_zero_between_equals() -> Result<()> {
        let (z, v) = (logits(3, 2., 0.), logits(3, 2., 1.));
        let plain = logit_regression(&z, &v)?.to_scalar::<f32>()?;
        let shifted = logit_regression(&(&z + 5.)?, &(&v - 3.)?)?.to_scalar::<f32>()?;
        assert!((plain - shifted).abs() < 1e-5 * plain, "{plain} {shifted}");
        assert!(plain > 0.1 && logit_regression(&z, &z)?.to_scalar::<f32>()? == 0.);
        Ok(())
    }
}
