//! The kernel behind [`super::attention_fusion`]: an image at a time, so that what is read twice
//! is still in the second-level cache; y is never written in x's size.
//!
//! Beside x, y and g only the gates are kept. For 64 channels at 32×32 the resized y, two 1×1
//! convolutions, their gradients and the mix that this replaces went through memory sixteen times
//! as whole maps, and this does five times.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::exp::exp32_nonpos;
use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, written};
use crate::rows;
use crate::upsample::sources;

pub(super) fn attention_fusion(
    x: &Tensor,
    y: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (_, _, from_h, from_w) = y.dims4()?;
    let (x, y) = (x.contiguous()?, y.contiguous()?);
    let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
    let map = Map { c, from_w, from_h, rows: sources(from_h, h), columns: sources(from_w, w) };
    let mut gates = vec![0f32; 2 * n * h * w];
    let out = {
        let (xs, ys, ws, bs) = (values(&x)?, values(&y)?, values(&weight)?, values(&bias)?);
        let (xs, ys, ws, bs): (&[f32], &[f32], &[f32], &[f32]) = (&xs, &ys, &ws, &bs);
        let write = |out: &mut [MaybeUninit<f32>]| {
            let images = out
                .par_chunks_mut(map.image().max(1))
                .zip(gates.par_chunks_mut((2 * map.pixels()).max(1)));
            images.enumerate().for_each(|(i, (out, gates))| {
                let x = &xs[i * map.image()..][..map.image()];
                let y = &ys[i * map.small_image()..][..map.small_image()];
                fuse(x, y, ws, bs, &map, gates, out);
            });
        };
        // SAFETY: the chunks cover the images, and `fuse` writes all of one.
        unsafe { written(xs.len(), write) }.0
    };
    let op = || {
        let (x, y, weight) = (x.detach(), y.detach(), weight.detach());
        Ok(AttentionFusion { x, y, weight, gates, map })
    };
    record(&[&x, &y, &weight, &bias], out, (n, c, h, w), false, op)
}

/// Which pixel of y each pixel of x belongs to, and the sizes of both.
struct Map {
    c: usize,
    from_h: usize,
    from_w: usize,
    rows: Vec<u32>,
    columns: Vec<u32>,
}

impl Map {
    /// Pixels of x.
    fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Pixels of y.
    fn small_pixels(&self) -> usize {
        self.from_h * self.from_w
    }

    /// Values of an image of x.
    fn image(&self) -> usize {
        self.c * self.pixels()
    }

    /// Values of an image of y.
    fn small_image(&self) -> usize {
        self.c * self.small_pixels()
    }

    /// Gradients of weight and bias.
    fn parameters(&self) -> usize {
        4 * self.c + 2
    }

    /// Row `i` of a plane of y as wide as x. `same` where it is that of row `i` − 1, which `row`
    /// still holds.
    #[inline(always)]
    fn stretch(&self, plane: &[f32], i: usize, row: &mut [f32]) {
        if i > 0 && self.rows[i] == self.rows[i - 1] {
            return;
        }
        let from = &plane[self.rows[i] as usize * self.from_w..][..self.from_w];
        if row.len() == from.len() {
            row.copy_from_slice(from);
        } else if row.len() == 2 * from.len() {
            for (pair, from) in row.as_chunks_mut::<2>().0.iter_mut().zip(from) {
                *pair = [*from; 2];
            }
        } else {
            for (to, column) in row.iter_mut().zip(&self.columns) {
                *to = from[*column as usize];
            }
        }
    }

    /// Adds `row`, the sum of x's rows that belong to row `i` of y, to that row and clears it,
    /// unless x's next row belongs to it too.
    #[inline(always)]
    fn shrink(&self, row: &mut [f32], i: usize, plane: &mut [f32]) {
        if self.rows.get(i + 1) == Some(&self.rows[i]) {
            return;
        }
        let to = &mut plane[self.rows[i] as usize * self.from_w..][..self.from_w];
        if row.len() == to.len() {
            to.iter_mut().zip(&*row).for_each(|(to, from)| *to += from);
        } else if row.len() == 2 * to.len() {
            for (to, pair) in to.iter_mut().zip(row.as_chunks::<2>().0) {
                *to += pair[0] + pair[1];
            }
        } else {
            for (from, column) in row.iter().zip(&self.columns) {
                to[*column as usize] += from;
            }
        }
        row.fill(0.0);
    }
}

struct AttentionFusion {
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    gates: Vec<f32>,
    map: Map,
}

impl Backward for AttentionFusion {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let mut dx = sum(grad)?.into_vec()?;
        let (xs, ys, ws) = (values(&self.x)?, values(&self.y)?, values(&self.weight)?);
        let (xs, ys, ws): (&[f32], &[f32], &[f32]) = (&xs, &ys, &ws);
        let (map, gates) = (&self.map, &self.gates);
        let images = xs.len() / map.image().max(1);
        let mut dy = vec![0f32; ys.len()];
        // Those of each image, added in the order of images.
        let mut parameters = vec![0f32; images * map.parameters()];
        let over = Parts::of(&mut dx);
        dy.par_chunks_mut(map.small_image().max(1))
            .zip(parameters.par_chunks_mut(map.parameters()))
            .take(images)
            .enumerate()
            .for_each(|(i, (dy, parameters))| {
                let x = &xs[i * map.image()..][..map.image()];
                let y = &ys[i * map.small_image()..][..map.small_image()];
                let gates = &gates[2 * i * map.pixels()..][..2 * map.pixels()];
                // SAFETY: each image belongs to one task.
                let dx = unsafe { over.part(i * map.image(), map.image()) };
                unfuse((x, y, ws), gates, map, dx, dy, parameters);
            });
        let mut sums = vec![0f64; map.parameters()];
        for image in parameters.chunks_exact(map.parameters()) {
            sums.iter_mut().zip(image).for_each(|(sum, v)| *sum += f64::from(*v));
        }
        let mut dweight: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
        let dbias = dweight.split_off(4 * map.c);
        Ok([dx, dy, dweight, dbias].into_iter().map(|grad| Some(Grad::Owned(grad))).collect())
    }
}

/// 1 / (1 + e^−z).
#[inline(always)]
fn sigmoid(z: f32) -> f32 {
    let e = exp32_nonpos(-z.abs());
    (if z < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// sums += weight · values.
#[inline(always)]
fn add_scaled(sums: &mut [f32], weight: f32, values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += weight * v);
}

multiversioned! {
    /// One image: the gates, and the mix. `gates` holds zeros.
    fn fuse(x: &[f32], y: &[f32], weight: &[f32], bias: &[f32], map: &Map, gates: &mut [f32], out: &mut [MaybeUninit<f32>]) {
        let (pixels, small_pixels, width) = (map.pixels(), map.small_pixels(), map.columns.len());
        if pixels == 0 {
            return;
        }
        let mut row = vec![0f32; width];
        for (k, gates) in gates.chunks_exact_mut(pixels).enumerate() {
            let (of_x, of_y) = weight[2 * k * map.c..][..2 * map.c].split_at(map.c);
            let mut small = vec![0f32; small_pixels];
            for (y, weight) in y.chunks_exact(small_pixels).zip(of_y) {
                add_scaled(&mut small, *weight, y);
            }
            for (i, gates) in gates.chunks_exact_mut(width).enumerate() {
                map.stretch(&small, i, &mut row);
                gates.iter_mut().zip(&row).for_each(|(gate, v)| *gate = bias[k] + v);
            }
            for (x, weight) in x.chunks_exact(pixels).zip(of_x) {
                add_scaled(gates, *weight, x);
            }
            gates.iter_mut().for_each(|gate| *gate = sigmoid(*gate));
        }
        let (a, b) = gates.split_at(pixels);
        let planes = x.chunks_exact(pixels).zip(y.chunks_exact(small_pixels));
        for (out, (x, y)) in out.chunks_exact_mut(pixels).zip(planes) {
            for (i, out) in out.chunks_exact_mut(width).enumerate() {
                map.stretch(y, i, &mut row);
                let at = i * width..(i + 1) * width;
                for (((out, x), y), (a, b)) in
                    out.iter_mut().zip(&x[at.clone()]).zip(&row).zip(a[at.clone()].iter().zip(&b[at]))
                {
                    out.write(x * a + y * b);
                }
            }
        }
    }
}

multiversioned! {
    /// One image: dx holds the gradient and takes that of x; dy and `parameters` hold zeros and
    /// take those of y and of weight and bias.
    fn unfuse(operands: (&[f32], &[f32], &[f32]), gates: &[f32], map: &Map, dx: &mut [f32], dy: &mut [f32], parameters: &mut [f32]) {
        let (x, y, weight) = operands;
        let (pixels, small_pixels, width) = (map.pixels(), map.small_pixels(), map.columns.len());
        if pixels == 0 {
            return;
        }
        let (a, b) = gates.split_at(pixels);
        let (mut da, mut db) = (vec![0f32; pixels], vec![0f32; pixels]);
        let mut row = vec![0f32; width];
        let planes = x.chunks_exact(pixels).zip(y.chunks_exact(small_pixels));
        for (g, (x, y)) in dx.chunks_exact(pixels).zip(planes.clone()) {
            for (i, g) in g.chunks_exact(width).enumerate() {
                map.stretch(y, i, &mut row);
                let at = i * width..(i + 1) * width;
                for ((g, (x, y)), (da, db)) in
                    g.iter().zip(x[at.clone()].iter().zip(&row)).zip(da[at.clone()].iter_mut().zip(&mut db[at]))
                {
                    *da += g * x;
                    *db += g * y;
                }
            }
        }
        // From here on the gradients of the gates' logits, and their sums over the pixels of y.
        let mut small = [vec![0f32; small_pixels], vec![0f32; small_pixels]];
        row.fill(0.0);
        for (k, (d, gates)) in [(&mut da, a), (&mut db, b)].into_iter().enumerate() {
            d.iter_mut().zip(gates).for_each(|(d, gate)| *d *= gate * (1.0 - gate));
            for (i, d) in d.chunks_exact(width).enumerate() {
                row.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
                map.shrink(&mut row, i, &mut small[k]);
            }
            parameters[4 * map.c + k] = rows::sum(d);
        }
        let channels = dx.chunks_exact_mut(pixels).zip(dy.chunks_exact_mut(small_pixels)).zip(planes);
        for (c, ((g, dy), (x, y))) in channels.enumerate() {
            for (i, g) in g.chunks_exact(width).enumerate() {
                let b = &b[i * width..][..width];
                row.iter_mut().zip(g.iter().zip(b)).for_each(|(sum, (g, b))| *sum += g * b);
                map.shrink(&mut row, i, dy);
            }
            let [w_xa, w_ya, w_xb, w_yb] = [0, 1, 2, 3].map(|i| weight[i * map.c + c]);
            add_scaled(dy, w_ya, &small[0]);
            add_scaled(dy, w_yb, &small[1]);
            for ((g, a), (da, db)) in g.iter_mut().zip(a).zip(da.iter().zip(&db)) {
                *g = *g * a + (w_xa * da + w_xb * db);
            }
            parameters[c] = rows::dot(&da, x);
            parameters[map.c + c] = rows::dot(&small[0], y);
            parameters[2 * map.c + c] = rows::dot(&db, x);
            parameters[3 * map.c + c] = rows::dot(&small[1], y);
        }
    }
}
