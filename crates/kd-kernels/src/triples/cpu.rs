//! The kernels behind [`super::squared_distances`] and [`super::angle_distance`]. Angles are looked
//! at a corner at a time, and never all in memory; corners are summed in groups of a fixed size, so
//! that the sum does not depend on threads.

use candle_core::{Result, Tensor};

use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::rows::{self, in_order, per_task, tasks};

/// Corners whose gradients are summed in one matrix.
const GROUP: usize = 16;

pub(super) fn squared_distances(x: &Tensor) -> Result<Tensor> {
    let (b, d) = x.dims2()?;
    let x = x.contiguous()?;
    let squares = {
        let xs = values(&x)?;
        let xs: &[f32] = &xs;
        let group = per_task(b * d);
        let rows = tasks(b.div_ceil(group), |task| {
            let mut out = vec![0f32; b * group.min(b - task * group)];
            for (i, out) in out.chunks_exact_mut(b).enumerate() {
                distances(&xs[(task * group + i) * d..][..d], xs, out);
            }
            out
        });
        rows.concat()
    };
    record(&[&x], squares, (b, b), false, || Ok(Distances { x: x.detach() }))
}

struct Distances {
    x: Tensor,
}

impl Backward for Distances {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let (grad, xs) = (grad.values()?, values(&self.x)?);
        let (grad, xs): (&[f32], &[f32]) = (&grad, &xs);
        let (b, d) = self.x.dims2()?;
        let group = per_task(b * d);
        let rows = tasks(b.div_ceil(group), |task| {
            let mut out = vec![0f32; d * group.min(b - task * group)];
            for (i, out) in out.chunks_exact_mut(d).enumerate() {
                let i = task * group + i;
                for (j, other) in xs.chunks_exact(d).enumerate() {
                    add_scaled_difference(
                        &xs[i * d..][..d],
                        other,
                        2.0 * (grad[i * b + j] + grad[j * b + i]),
                        out,
                    );
                }
            }
            out
        });
        Ok(vec![Some(Grad::Owned(rows.concat()))])
    }
}

multiversioned! {
    /// out_j = ‖x − y_j‖².
    fn distances(x: &[f32], ys: &[f32], out: &mut [f32]) {
        for (out, y) in out.iter_mut().zip(ys.chunks_exact(x.len())) {
            *out = squared_distance(x, y);
        }
    }
}

#[inline(always)]
fn squared_distance(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0f32; rows::LANES];
    let (x_chunks, x_rest) = x.as_chunks::<{ rows::LANES }>();
    let (y_chunks, y_rest) = y.as_chunks::<{ rows::LANES }>();
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for l in 0..rows::LANES {
            let d = x[l] - y[l];
            lanes[l] += d * d;
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *lane += (x - y) * (x - y);
    }
    rows::fold(lanes)
}

multiversioned! {
    /// out += factor · (x − y).
    fn add_scaled_difference(x: &[f32], y: &[f32], factor: f32, out: &mut [f32]) {
        for (out, (x, y)) in out.iter_mut().zip(x.iter().zip(y)) {
            *out += factor * (x - y);
        }
    }
}

pub(super) fn angle_distance(squares: &Tensor, target: &Tensor) -> Result<Tensor> {
    let b = squares.dim(0)?;
    let (squares, target) = (squares.contiguous()?, target.contiguous()?);
    let tracked = squares.track_op();
    let (loss, grad) = {
        let (s, t) = (values(&squares)?, values(&target)?);
        let (s, t) = (Distance::of(&s), Distance::of(&t));
        let groups = tasks(b.div_ceil(GROUP), |group| {
            let mut found = CornerSums {
                losses: vec![0f32; b],
                grad: vec![0f32; if tracked { b * b } else { 0 }],
            };
            let mut loss = 0f64;
            for i in group * GROUP..b.min((group + 1) * GROUP) {
                found.losses.fill(0.0);
                corner(i, &s, &t, &mut found);
                loss += found.losses.iter().map(|l| f64::from(*l)).sum::<f64>();
            }
            (loss, found.grad)
        });
        let (losses, grads): (Vec<f64>, Vec<Vec<f32>>) = groups.into_iter().unzip();
        (losses.iter().sum::<f64>(), in_order(grads, 0))
    };
    let triples = (b * b * b) as f64;
    record(&[&squares], vec![(loss / triples) as f32], (), false, || {
        Ok(Angles { grad, share: (1.0 / triples) as f32 })
    })
}

/// Squared distances, and 1 over the distances, 0 where they count as 0.
struct Distance<'a> {
    squares: &'a [f32],
    inverse: Vec<f32>,
}

impl<'a> Distance<'a> {
    fn of(squares: &'a [f32]) -> Self {
        let inverse =
            |s: &f32| if f64::from(*s) > super::NEAREST_SQUARED { 1.0 / s.sqrt() } else { 0.0 };
        Self { squares, inverse: squares.iter().map(inverse).collect() }
    }
}

/// What is summed over corners: losses by their third member, and the gradient by squared
/// distances, without the division by b³.
struct CornerSums {
    losses: Vec<f32>,
    grad: Vec<f32>,
}

multiversioned! {
    /// All angles at i. The gradient, if asked for, is added up.
    fn corner(i: usize, s: &Distance, t: &Distance, found: &mut CornerSums) {
        let b = found.losses.len();
        let row = i * b..(i + 1) * b;
        let (s_squares, s_inverse) = (&s.squares[row.clone()], &s.inverse[row.clone()]);
        let (t_squares, t_inverse) = (&t.squares[row.clone()], &t.inverse[row.clone()]);
        // By s_ij and by s_ik the gradient is the same sum, with j and k exchanged: one of the two is taken twice.
        let mut own = vec![0f32; b];
        for j in 0..b {
            let between = j * b..(j + 1) * b;
            let (s_between, t_between) = (&s.squares[between.clone()], &t.squares[between.clone()]);
            let (s_leg, t_leg) = (s_squares[j], t_squares[j]);
            let (s_half, t_half) = (0.5 * s_inverse[j], 0.5 * t_inverse[j]);
            let losses = &mut found.losses[..b];
            if found.grad.is_empty() {
                for k in 0..b {
                    let cos = (s_leg + s_squares[k] - s_between[k]) * s_half * s_inverse[k];
                    let gap = cos - (t_leg + t_squares[k] - t_between[k]) * t_half * t_inverse[k];
                    let cut = gap.clamp(-1.0, 1.0);
                    losses[k] += cut * (gap - 0.5 * cut);
                }
            } else {
                let across = &mut found.grad[between];
                for k in 0..b {
                    let inverse = s_half * s_inverse[k];
                    let cos = (s_leg + s_squares[k] - s_between[k]) * inverse;
                    let gap = cos - (t_leg + t_squares[k] - t_between[k]) * t_half * t_inverse[k];
                    let cut = gap.clamp(-1.0, 1.0);
                    losses[k] += cut * (gap - 0.5 * cut);
                    across[k] -= cut * inverse;
                    own[k] += cut * (2.0 * inverse - cos * s_inverse[k] * s_inverse[k]);
                }
            }
        }
        if !found.grad.is_empty() {
            for (grad, own) in found.grad[row].iter_mut().zip(&own) {
                *grad += own;
            }
        }
    }
}

struct Angles {
    grad: Vec<f32>,
    share: f32,
}

impl Backward for Angles {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let factor = sum(grad)?.values()?[0] * self.share;
        Ok(vec![Some(Grad::Owned(self.grad.iter().map(|g| g * factor).collect()))])
    }
}
