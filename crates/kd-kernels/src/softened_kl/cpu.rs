//! The kernel behind [`super::softened_kl`]: value and gradient in one pass over the rows, in f64
//! because T² multiplies the rounding.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::exp::{block_rows, exp_rows, sum};
use crate::kept_grad::KeptGrad;
use crate::multiversion::multiversioned;
use crate::operand::{TASK, contiguous_f32};

/// Keeps the gradient that the forward pass computed; the backward pass scales it by the gradient
/// of the loss.
pub(super) struct SoftenedKl {
    temperature: f64,
    with_grad: bool,
    grad: KeptGrad,
}

impl SoftenedKl {
    pub(super) fn new(temperature: f64, with_grad: bool) -> Self {
        Self { temperature, with_grad, grad: KeptGrad::default() }
    }
}

impl CustomOp2 for SoftenedKl {
    fn name(&self) -> &'static str {
        "softened_kl"
    }

    fn cpu_fwd(
        &self,
        student: &CpuStorage,
        student_l: &Layout,
        teacher: &CpuStorage,
        teacher_l: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let student = contiguous_f32(student, student_l, self.name())?;
        let teacher = contiguous_f32(teacher, teacher_l, self.name())?;
        let (b, c) = student_l.shape().dims2()?;
        let rows = (TASK / c).max(1);
        let factors = TemperatureFactors {
            inv_t: 1.0 / self.temperature,
            grad_scale: self.temperature / b as f64,
        };
        let mut losses = vec![0f64; b];
        let mut grad = vec![0f32; if self.with_grad { student.len() } else { 0 }];
        if b <= rows {
            softened_kl_rows(student, teacher, &factors, &mut losses, &mut grad);
        } else if self.with_grad {
            let inputs = student.par_chunks(rows * c).zip(teacher.par_chunks(rows * c));
            let outputs = losses.par_chunks_mut(rows).zip(grad.par_chunks_mut(rows * c));
            inputs.zip(outputs).for_each(|((z, v), (l, g))| softened_kl_rows(z, v, &factors, l, g));
        } else {
            let inputs = student.par_chunks(rows * c).zip(teacher.par_chunks(rows * c));
            inputs
                .zip(losses.par_chunks_mut(rows))
                .for_each(|((z, v), l)| softened_kl_rows(z, v, &factors, l, &mut []));
        }
        if self.with_grad {
            self.grad.keep(grad);
        }
        let value = losses.iter().sum::<f64>() * self.temperature * self.temperature / b as f64;
        Ok((CpuStorage::F32(vec![value as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        student: &Tensor,
        _teacher: &Tensor,
        _loss: &Tensor,
        upstream: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = self.grad.scaled(student.shape(), upstream, self.name())?;
        Ok((Some(grad), None))
    }
}

/// 1/T and T/b.
struct TemperatureFactors {
    inv_t: f64,
    grad_scale: f64,
}

multiversioned! {
    /// One divergence a row, without the factor T²; the gradient where `grad` is as long as `student` rather than empty.
    fn softened_kl_rows(student: &[f32], teacher: &[f32], factors: &TemperatureFactors, losses: &mut [f64], grad: &mut [f32]) {
        let c = student.len() / losses.len();
        let block = block_rows(c);
        let (mut z_maxes, mut q) = (vec![0f32; block], vec![0f64; block * c]);
        let (mut v_maxes, mut p) = (vec![0f32; block], vec![0f64; block * c]);
        for (b, (z, (v, losses))) in student.chunks(block * c).zip(teacher.chunks(block * c).zip(losses.chunks_mut(block))).enumerate() {
            exp_rows(z, c, factors.inv_t, &mut z_maxes, &mut q[..z.len()]);
            exp_rows(v, c, factors.inv_t, &mut v_maxes, &mut p[..v.len()]);
            let grad = if grad.is_empty() { &mut [] } else { &mut grad[b * block * c..][..z.len()] };
            for (i, loss) in losses.iter_mut().enumerate() {
                let (z, v) = (&z[i * c..][..c], &v[i * c..][..c]);
                let (q, p) = (&q[i * c..][..c], &mut p[i * c..][..c]);
                let (q_sum, p_sum) = (sum(q), sum(p));
                if !grad.is_empty() {
                    let (q_scale, p_scale) = (factors.grad_scale / q_sum, factors.grad_scale / p_sum);
                    for ((g, q), p) in grad[i * c..][..c].iter_mut().zip(q).zip(&*p) {
                        *g = (q * q_scale - p * p_scale) as f32;
                    }
                }
                // Σ p·(ln p − ln q) = Σ p·((v − max v) − (z − max z))/T + ln Σq − ln Σp, before p is divided by its sum.
                let shift = f64::from(z_maxes[i]) - f64::from(v_maxes[i]);
                for ((p, &v), &z) in p.iter_mut().zip(v).zip(z) {
                    *p *= f64::from(v) - f64::from(z) + shift;
                }
                let kl = sum(p) * factors.inv_t / p_sum + (q_sum / p_sum).ln();
                // Rounding may leave a hair below 0 where the two agree; a NaN has to pass.
                *loss = if kl < 0.0 { 0.0 } else { kl };
            }
        }
    }
}
