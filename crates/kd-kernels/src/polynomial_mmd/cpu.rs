//! The kernel behind [`super::polynomial_mmd`]: products of channels an image at a time. The
//! forward pass keeps, for each image, the two small matrices that turn x and y into the gradient
//! of x.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::Precision;
use crate::gemm::{Epilogue, MatRef, gemm, gemm_add, gemm_into};
use crate::graph::{Backward, Grad, record, sum, values};
use crate::rows::tasks;

pub(super) fn polynomial_mmd(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (x, y) = (x.contiguous()?, y.contiguous()?);
    let (n, c, d) = (x.dim(0)?, x.dim(1)?, y.dim(1)?);
    let sizes = Sizes { n, c, d, places: x.elem_count() / (n * c) };
    let tracked = x.track_op();
    let images = {
        let (xs, ys) = (values(&x)?, values(&y)?);
        let (xs, ys): (&[f32], &[f32]) = (&xs, &ys);
        tasks(n, |i| sizes.image(xs, ys, i, tracked)).into_iter().collect::<Result<Vec<_>>>()?
    };
    let value = images.iter().map(|image| image.value).sum::<f64>() / n as f64;
    record(&[&x], vec![value as f32], (), false, || {
        Ok(Mmd { x: x.detach(), y: y.detach(), sizes, images })
    })
}

#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    c: usize,
    d: usize,
    places: usize,
}

/// What an image adds to the mean, and its part of the gradient of x: `own` · x + `other` · y,
/// row-major `c × c` and `c × d`, or empty.
struct Image {
    value: f64,
    own: Vec<f32>,
    other: Vec<f32>,
}

impl Sizes {
    fn matrices<'a>(
        &self,
        xs: &'a [f32],
        ys: &'a [f32],
        i: usize,
    ) -> Result<(MatRef<'a>, MatRef<'a>)> {
        let (own, other) = (self.c * self.places, self.d * self.places);
        let x = MatRef::row_major(&xs[i * own..][..own], self.c, self.places)?;
        Ok((x, MatRef::row_major(&ys[i * other..][..other], self.d, self.places)?))
    }

    fn image(&self, xs: &[f32], ys: &[f32], i: usize, tracked: bool) -> Result<Image> {
        let (x, y) = self.matrices(xs, ys, i)?;
        let product = |a: MatRef, b: MatRef| gemm(a, b.t(), Epilogue::Identity, Precision::Float32);
        let (mut own, mut other, both) = (product(x, x)?, product(x, y)?, product(y, y)?);
        let (c, d) = (self.c as f64, self.d as f64);
        let (r, q) = (inverse_lengths(&own, self.c), inverse_lengths(&both, self.d));
        // Three sums in one order, so that they cancel exactly where y is x.
        let targets: f64 = both
            .chunks_exact(self.d)
            .zip(&q)
            .map(|(row, q_k)| squares(row, *q_k, &q) / (d * d))
            .sum();
        let (mut within, mut across) = (0f64, 0f64);
        // With s_i = r_i·x_i and t_j = q_j·y_j the derivative by s_i is u_i = 4/n · [Σ_j
        // (s_i·s_j)·s_j/c² − Σ_j (s_i·t_j)·t_j/(c·d)], and by x_i it is r_i · (u_i −
        // (u_i·s_i)·s_i).
        for (k, (own, other)) in
            own.chunks_exact_mut(self.c).zip(other.chunks_exact_mut(self.d)).enumerate()
        {
            let (near, far) =
                (squares(own, r[k], &r) / (c * c), squares(other, r[k], &q) / (c * d));
            within += near;
            across += far;
            if tracked {
                let scale = 4.0 * r[k] * r[k] / self.n as f64;
                own.iter_mut()
                    .zip(&r)
                    .for_each(|(v, r)| *v = (scale / (c * c) * f64::from(*v) * r * r) as f32);
                other
                    .iter_mut()
                    .zip(&q)
                    .for_each(|(v, q)| *v = (-scale / (c * d) * f64::from(*v) * q * q) as f32);
                own[k] = (f64::from(own[k]) - scale * (near - far)) as f32;
            }
        }
        let kept = |matrix: Vec<f32>| if tracked { matrix } else { Vec::new() };
        Ok(Image { value: targets + within - 2.0 * across, own: kept(own), other: kept(other) })
    }
}

/// 1 over the roots of the diagonal of a square matrix, 0 for what counts as 0.
fn inverse_lengths(products: &[f32], size: usize) -> Vec<f64> {
    let squares = products.iter().step_by(size + 1).map(|s| f64::from(*s));
    squares.map(|s| if s > super::SHORTEST_SQUARED { 1.0 / s.sqrt() } else { 0.0 }).collect()
}

/// Σ of the squared cosines of a row: products over the lengths of what was multiplied.
fn squares(products: &[f32], row: f64, columns: &[f64]) -> f64 {
    products
        .iter()
        .zip(columns)
        .map(|(product, column)| f64::from(*product) * row * column)
        .map(|cosine| cosine * cosine)
        .sum()
}

struct Mmd {
    x: Tensor,
    y: Tensor,
    sizes: Sizes,
    images: Vec<Image>,
}

impl Backward for Mmd {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let upstream = grad.values()?[0];
        let (xs, ys) = (values(&self.x)?, values(&self.y)?);
        let (xs, ys): (&[f32], &[f32]) = (&xs, &ys);
        let Sizes { c, d, places, .. } = self.sizes;
        let mut dx = vec![0f32; xs.len()];
        dx.par_chunks_mut(c * places).enumerate().try_for_each(|(i, dx)| -> Result<()> {
            let (x, y) = self.sizes.matrices(xs, ys, i)?;
            let scaled =
                |matrix: &[f32]| -> Vec<f32> { matrix.iter().map(|v| upstream * v).collect() };
            let (own, other) = (scaled(&self.images[i].own), scaled(&self.images[i].other));
            gemm_into(
                MatRef::row_major(&own, c, c)?,
                x,
                Epilogue::Identity,
                Precision::Float32,
                dx,
            )?;
            gemm_add(MatRef::row_major(&other, c, d)?, y, Precision::Float32, dx)
        })?;
        Ok(vec![Some(Grad::Owned(dx))])
    }
}
