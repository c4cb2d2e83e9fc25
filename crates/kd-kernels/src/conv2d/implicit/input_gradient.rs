//! The gradient of x. Without strides it is a convolution of g with the kernel turned round; with
//! strides, each phase of x (its pixels of one row and one column remainder) is one of its own,
//! with the taps that reach it. The phases are computed side by side for a block of images, and
//! then put together.

use super::panel::Weights;
use super::product::{self, ImplicitProduct, Interleave};
use super::{COLUMNS, flat};
use crate::conv2d::places::{Places, Walk};
use crate::conv2d::shape::Shape;
use crate::gemm::buffer::{Workspace, with_lines};
use crate::output::written_by_blocks;
use crate::vector::Isa;
use std::cell::Cell;
use std::mem::MaybeUninit;

thread_local! {
    static WORKSPACE: Workspace = const { Cell::new(Vec::new()) };
}

/// The pixels of x in one direction that leave the same remainder when divided by the stride.
#[derive(Clone)]
struct Phase {
    /// How many there are.
    len: usize,
    /// The places k in the kernel that reach them, and the distance from pixel i' of the phase to
    /// the pixel of g.
    reached: Vec<(usize, isize)>,
}

/// The phases of one direction, by remainder.
fn phases(size: usize, kernel: usize, stride: usize, padding: usize) -> Vec<Phase> {
    let phase = |rest: usize| {
        let distance = |k: usize| (rest + padding) as isize - k as isize;
        let reached = (0..kernel)
            .filter(|&k| distance(k) % stride as isize == 0)
            .map(|k| (k, distance(k) / stride as isize))
            .collect();
        Phase { len: size.saturating_sub(rest).div_ceil(stride), reached }
    };
    (0..stride.min(size)).map(phase).collect()
}

/// What one phase of x needs: a convolution of g without strides.
struct Work {
    /// Rows and columns of the phase, and their remainders.
    rows: usize,
    cols: usize,
    at: (usize, usize),
    taps: Vec<(isize, isize)>,
    weights: Weights,
}

/// The gradient with respect to x, `[n, in, h, w]`, from g, that of y.
pub(in crate::conv2d) fn input_gradient(isa: Isa, s: &Shape, g: &[f32], w: &[f32]) -> Vec<f32> {
    s.check(None, Some(w), Some(g));
    let stride = s.geometry.stride;
    let (rows, cols) = (
        phases(s.h, s.kh, stride, s.geometry.padding),
        phases(s.w, s.kw, stride, s.geometry.padding),
    );
    let works: Vec<Work> = rows
        .iter()
        .enumerate()
        .flat_map(|(a, r)| cols.iter().enumerate().map(move |(b, c)| (a, b, r, c)))
        .map(|(a, b, r, c)| work(isa, s, w, (a, b), r, c))
        .collect();
    let images = COLUMNS.div_ceil((s.ho * s.wo).max(1)).min(s.n.max(1));
    let image = s.cout * s.ho * s.wo;
    let plans =
        |images: usize| works.iter().map(|work| plan(isa, s, work, images)).collect::<Vec<_>>();
    let (whole, rest) = (plans(images), plans(s.n % images));
    let block = images * s.cin * s.h * s.w;
    let write = |at: usize, dx: &mut [MaybeUninit<f32>]| {
        let plans = if dx.len() == block { &whole } else { &rest };
        let g = g[at * images * image..].as_ptr();
        // SAFETY: the plans are those of this block, which has as many images as g from there on,
        // or more.
        unsafe { phases_of_block(isa, s, &works, plans, g, dx) }
    };
    // SAFETY: each pixel of a block is one of one phase.
    unsafe { written_by_blocks(s.x_len(), block, write) }
}

fn work(isa: Isa, s: &Shape, w: &[f32], at: (usize, usize), rows: &Phase, cols: &Phase) -> Work {
    let groups = s.geometry.groups;
    let (channels, out) = (s.cin / groups, s.cout / groups);
    let pairs: Vec<_> = rows
        .reached
        .iter()
        .flat_map(|&(k, dy)| cols.reached.iter().map(move |&(l, dx)| (k * s.kw + l, (dy, dx))))
        .collect();
    let (count, kernel) = (pairs.len(), s.kh * s.kw);
    let weights = Weights::pack(isa, w, [groups, channels, out * count], kernel, |group, k| {
        (group * out + k / count) * channels * kernel + pairs[k % count].0
    });
    Work { rows: rows.len, cols: cols.len, at, taps: pairs.iter().map(|p| p.1).collect(), weights }
}

/// The places of one phase of a block of images.
struct Plan {
    from: Places,
    to: Places,
    /// Numbers of a channel of the phase, in whole registers; 0 where results go straight to dx.
    channel: usize,
}

fn plan(isa: Isa, s: &Shape, work: &Work, images: usize) -> Plan {
    let lanes = isa.lanes();
    let image = s.cout * s.ho * s.wo;
    let unmoved = work.taps == [(0, 0)] && work.rows == s.ho && work.cols == s.wo;
    let walk = Walk { rows: work.rows, cols: work.cols, height: s.ho, width: s.wo, step: 1, image };
    let from = Places::new(
        if unmoved { flat(s.ho * s.wo, image) } else { walk },
        &work.taps,
        images,
        lanes,
    );
    if s.geometry.stride == 1 {
        let to = Places::new(flat(s.h * s.w, s.cin * s.h * s.w), &[(0, 0)], images, lanes);
        return Plan { from, to, channel: 0 };
    }
    // Registers one after another: a block of one image, as wide as its registers.
    let channel = from.vectors * lanes;
    Plan { from, to: Places::new(flat(channel, channel), &[(0, 0)], 1, lanes), channel }
}

/// The gradient of one block of images, all of which it writes.
///
/// # Safety
/// The plans are of the works and of as many images as `dx` has, which can be read at `g`.
unsafe fn phases_of_block(
    isa: Isa,
    s: &Shape,
    works: &[Work],
    plans: &[Plan],
    g: *const f32,
    dx: &mut [MaybeUninit<f32>],
) {
    let groups = s.geometry.groups;
    let product = |work, channel| shared(s, groups, work, channel);
    if s.geometry.stride == 1 {
        let dx_at = dx.as_mut_ptr().cast::<f32>();
        for (work, plan) in works.iter().zip(plans) {
            // SAFETY: the places lie in g and in this block of dx, all of which they cover.
            unsafe {
                product::run(isa, &product(work, s.h * s.w), (&plan.from, &plan.to), g, dx_at)
            }
        }
        return;
    }
    let starts: Vec<usize> = plans
        .iter()
        .scan(0, |at, p| Some(std::mem::replace(at, *at + p.channel * s.cin)))
        .collect();
    let total: usize = plans.iter().map(|p| p.channel * s.cin).sum();
    with_lines(&WORKSPACE, total.div_ceil(16), |workspace| {
        for ((work, plan), start) in works.iter().zip(plans).zip(&starts) {
            let product = product(work, plan.channel);
            // SAFETY: as above, with a part of the scratch memory in place of dx.
            unsafe { product::run(isa, &product, (&plan.from, &plan.to), g, workspace.add(*start)) }
        }
        let images = dx.len() / (s.cin * s.h * s.w).max(1);
        if s.geometry.stride == 2 && s.w.is_multiple_of(2) {
            // Made here: this closure owns the borrow of dx.
            let dx_at = dx.as_mut_ptr().cast::<f32>();
            for (two, (plan, start)) in works.chunks(2).zip(plans.iter().zip(&starts).step_by(2)) {
                let (a, rows) = (two[0].at.0, two[0].rows);
                // Every second row is a row of a map twice as wide.
                let walk = Walk {
                    rows,
                    cols: s.w,
                    height: rows,
                    width: 2 * s.w,
                    step: 1,
                    image: s.cin * s.h * s.w,
                };
                let to = &Places::new(walk, &[(0, 0)], images, isa.lanes());
                // SAFETY: both phases were written above; the rows lie in dx.
                unsafe {
                    let even = workspace.add(*start);
                    let odd = even.add(plan.channel * s.cin);
                    let y = dx_at.add(a * s.w);
                    let (from_step, to_step) = (plan.channel, s.h * s.w);
                    isa.run(Interleave { channels: s.cin, even, odd, from_step, to, y, to_step });
                }
            }
        } else {
            for ((work, plan), start) in works.iter().zip(plans).zip(&starts) {
                // SAFETY: the phase was written above.
                let phase = unsafe {
                    std::slice::from_raw_parts(workspace.add(*start), plan.channel * s.cin)
                };
                spread(s, work, plan, phase, images, dx);
            }
        }
    })
}

/// What the blocks of one phase share.
fn shared<'a>(s: &Shape, groups: usize, work: &'a Work, channel: usize) -> ImplicitProduct<'a> {
    ImplicitProduct {
        groups,
        channels: s.cout / groups,
        channel_step: s.ho * s.wo,
        row_step: channel,
        taps: work.taps.len(),
        weights: &work.weights,
        bias: None,
    }
}

/// Copies one phase to its pixels.
fn spread(
    s: &Shape,
    work: &Work,
    plan: &Plan,
    phase: &[f32],
    images: usize,
    dx: &mut [MaybeUninit<f32>],
) {
    let stride = s.geometry.stride;
    for image in 0..images {
        for c in 0..s.cin {
            for i in 0..work.rows {
                let from =
                    &phase[c * plan.channel + (image * work.rows + i) * work.cols..][..work.cols];
                let row = ((image * s.cin + c) * s.h + i * stride + work.at.0) * s.w;
                let to = dx[row..][..s.w].iter_mut().skip(work.at.1).step_by(stride);
                to.zip(from).for_each(|(to, from)| {
                    to.write(*from);
                });
            }
        }
    }
}
