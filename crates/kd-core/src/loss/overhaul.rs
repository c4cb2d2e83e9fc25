//! The overhaul of feature distillation: margins and the masked distance.

use candle_core::cpu::erf::erfc_f64;
use candle_core::{DType, Result, Tensor, bail};
use kd_kernels::pool::avg_pool2d;

use super::operands;

/// Squared distance of the student's map from the teacher's, which is brought up to its channels'
/// margins first, where it counts:
///
/// `1/b · Σ k · (s − d)²`, where `d = max(t, m_c)`, and k is 1 where `t > 0` or `s > d`, and 0
/// elsewhere.
///
/// `student` s `[b, c, h, w]`, before its activation and through the connector, `teacher` t `[b, c,
/// h', w']`, before its activation, of the student's size or a whole multiple of it, to which it is
/// average-pooled; `margins` m `[c]`, at most 0 → scalar. Sum over channels and pixels, mean over
/// the batch. The teacher and the margins are detached.
///
/// Source: Heo et al. 2019, "A comprehensive overhaul of feature distillation", section 3: margin
/// ReLU of the teacher and partial L2 distance. Deviation: where maps differ in size the teacher's
/// is pooled, as mdistiller does. A method sums over stages with the weights 2^(l − L + 1).
///
/// # Errors
/// When the shapes do not fit.
pub fn overhaul(student: &Tensor, teacher: &Tensor, margins: &Tensor) -> Result<Tensor> {
    let &[b, c, h, w] = student.dims() else {
        bail!("overhaul: expected maps [b, c, h, w], got {:?} of the student", student.dims())
    };
    let fits = teacher.dims().get(..2) == Some(&[b, c])
        && teacher.rank() == 4
        && student.elem_count() > 0
        && margins.dims() == [c];
    let factor =
        if fits { operands::pooling((h, w), (teacher.dim(2)?, teacher.dim(3)?)) } else { None };
    let Some(factor) = factor.filter(|_| teacher.dims().get(2) >= Some(&h)) else {
        bail!(
            "overhaul: expected a teacher's map [{b}, {c}, h, w] of a whole multiple of {h}x{w} pixels and margins [{c}], got {:?} and {:?}",
            teacher.dims(),
            margins.dims()
        )
    };
    let teacher = if factor == 1 {
        teacher.detach()
    } else {
        avg_pool2d(&teacher.detach(), factor, factor, 0, true)?
    };
    let target = teacher.broadcast_maximum(&margins.detach().reshape((1, c, 1, 1))?)?;
    let distance = (student - &target)?;
    let counts =
        (distance.detach().gt(0.)? + teacher.gt(0.)?)?.gt(0u8)?.to_dtype(student.dtype())?;
    distance.mul(&counts)?.sqr()?.sum_all()? * (1. / b as f64)
}

/// The least probability of a negative value with which a channel's margin is its expectation;
/// where it is less, the margin is −3 deviations.
pub const RARE: f64 = 1e-3;

/// The margin of each channel: `E[x | x < 0]` for x normal with mean `bias` and deviation
/// `|weight|`, those of the batch normalisation that makes the teacher's map: `bias − |w| ·
/// φ(bias/|w|) / Φ(−bias/|w|)`.
///
/// Where `P(x < 0)` ≤ [`RARE`] it is `−3·|weight|`. A channel of weight 0 is its bias everywhere:
/// its margin is min(bias, 0).
///
/// `weight`, `bias` `[c]` → `[c]` of the same dtype, each at most 0, computed in float64.
///
/// Source: Heo et al. 2019, "A comprehensive overhaul of feature distillation", section 3; the rare
/// case is that of their program.
///
/// # Errors
/// When the shapes differ or are not `[c]`.
pub fn margins(weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if weight.rank() != 1 || weight.dims() != bias.dims() {
        bail!(
            "margins: expected a weight and a bias [c], got {:?} and {:?}",
            weight.dims(),
            bias.dims()
        )
    }
    let values = |x: &Tensor| x.detach().to_dtype(DType::F64)?.to_vec1::<f64>();
    let margins: Vec<f64> =
        values(weight)?.iter().zip(values(bias)?).map(|(&w, b)| margin(w.abs(), b)).collect();
    Tensor::from_vec(margins, weight.dims(), weight.device())?.to_dtype(weight.dtype())
}

fn margin(deviation: f64, mean: f64) -> f64 {
    if deviation == 0. {
        return mean.min(0.);
    }
    let z = mean / deviation;
    let below = 0.5 * erfc_f64(z * std::f64::consts::FRAC_1_SQRT_2);
    if below <= RARE {
        return -3. * deviation;
    }
    let density = (-0.5 * z * z).exp() / (2. * std::f64::consts::PI).sqrt();
    mean - deviation * density / below
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loss::testing::{differences_agree, finite, flat, gradient, noise, refused, scalar};

    fn below_zero(c: usize) -> Result<Tensor> {
        noise(&[c], 9)?.abs()?.neg()
    }

    #[test]
    fn it_is_the_three_masked_squares_of_the_authors_program() -> Result<()> {
        // Margin −1; rows: t ≤ m (s below and above m), m < t ≤ 0 (s below and above t), t > 0 (s
        // below and above t).
        let t =
            Tensor::new(&[-3f32, -3., -0.5, -0.5, 2., 2.], &Device::Cpu)?.reshape((1, 1, 2, 3))?;
        let s = Tensor::new(&[-2f32, 1., -2., 1., 1., 4.], &Device::Cpu)?.reshape((1, 1, 2, 3))?;
        let (value, g) = finite(&s, |s| overhaul(s, &t, &Tensor::new(&[-1f32], &Device::Cpu)?));
        assert_eq!(value, 0. + 4. + 0. + 2.25 + 1. + 4.);
        assert_eq!(g, [0., 4., 0., 3., -2., 4.]);
        Ok(())
    }

    #[test]
    fn a_student_below_the_margin_of_a_silent_neuron_is_left_alone() -> Result<()> {
        let (teacher, m) = (noise(&[2, 3, 4, 4], 1)?, below_zero(3)?);
        let target = teacher.broadcast_maximum(&m.reshape((1, 3, 1, 1))?)?;
        assert_eq!(scalar(&overhaul(&target, &teacher, &m)?), 0.);
        // Where the teacher is silent, further down costs nothing; elsewhere it does.
        let silent = teacher.le(0.)?.to_dtype(DType::F32)?;
        assert_eq!(scalar(&overhaul(&(&target - &silent)?, &teacher, &m)?), 0.);
        assert!(scalar(&overhaul(&(&target + &silent)?, &teacher, &m)?) > 1.);
        assert!(scalar(&overhaul(&(&target - silent.affine(-1., 1.)?)?, &teacher, &m)?) > 1.);
        Ok(())
    }

    #[test]
    fn a_larger_teacher_is_pooled_and_a_smaller_one_refused() -> Result<()> {
        let (x, t, m) = (noise(&[2, 3, 2, 2], 1)?, noise(&[2, 3, 4, 4], 2)?, below_zero(3)?);
        let (pooled, got) =
            (scalar(&overhaul(&x, &t.avg_pool2d(2)?, &m)?), scalar(&overhaul(&x, &t, &m)?));
        assert!(pooled > 1. && (got - pooled).abs() < 1e-5 * pooled, "{got} {pooled}");
        let shapes = "a teacher's map [2, 3, h, w] of a whole multiple of 4x4 pixels and margins [3], got [2, 3, 2, 2] and [3]";
        refused(overhaul(&t, &x, &m), &format!("overhaul: expected {shapes}"));
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_teacher_and_margins() -> Result<()> {
        let (x, t, m) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 3, 4, 4], 2)?, below_zero(3)?);
        differences_agree(&x, 5, |s| overhaul(s, &t.to_dtype(s.dtype())?, &m.to_dtype(s.dtype())?));
        assert!(gradient(&t, |t| overhaul(&x, t, &m)).is_none());
        assert!(gradient(&m, |m| overhaul(&x, &t, m)).is_none());
        Ok(())
    }

    #[test]
    fn margins_are_the_means_of_what_is_below_zero() -> Result<()> {
        let (weight, bias) =
            (Tensor::new(&[0.8f64, -1.], &Device::Cpu)?, Tensor::new(&[0.3f64, 0.], &Device::Cpu)?);
        let got = flat(&margins(&weight, &bias)?)?;
        // The first from the authors' code in float64, the second −√(2/π).
        for (got, want) in
            got.iter().zip([-0.5407536922393414, -(2. / std::f64::consts::PI).sqrt()])
        {
            assert!((got - want).abs() < 1e-9, "{got} {want}");
        }
        // By the midpoint rule.
        for (mean, deviation) in [(-2f64, 0.5f64), (0.7, 0.4), (1., 2.)] {
            let (mut mass, mut moment) = (0., 0.);
            for i in 0..200_000 {
                let x = -(i as f64 + 0.5) * 1e-4;
                let p = (-0.5 * ((x - mean) / deviation).powi(2)).exp();
                (mass, moment) = (mass + p, moment + p * x);
            }
            assert!(
                (margin(deviation, mean) - moment / mass).abs() < 1e-6,
                "mean {mean}, deviation {deviation}"
            );
        }
        Ok(())
    }

    #[test]
    fn margins_of_channels_that_are_hardly_ever_negative_and_of_constant_ones() -> Result<()> {
        let weight = Tensor::new(&[0.5f32, 0., 0., -1e-30], &Device::Cpu)?;
        let bias = Tensor::new(&[2f32, 0.3, -0.3, 1.], &Device::Cpu)?;
        let got = flat(&margins(&weight, &bias)?)?;
        assert!(
            (got[0] + 1.5).abs() < 1e-6
                && got[1] == 0.
                && (got[2] + 0.3).abs() < 1e-7
                && got[3].abs() < 1e-29,
            "{got:?}"
        );
        refused(
            margins(&weight, &noise(&[3], 1)?),
            "margins: expected a weight and a bias [c], got [4] and [3]",
        );
        Ok(())
    }
}
