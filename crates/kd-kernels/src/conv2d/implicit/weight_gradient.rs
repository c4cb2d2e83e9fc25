//! The gradient of w: dw\[o, c, k, l\] = Σ over columns of g\[o\] · x\[c\] under the place (k, l).
//!
//! A tile holds up to 14 rows (c, k, l) by two registers of output channels while the columns run,
//! so that no sum over lanes is needed: the rows come one number at a time from the panel of x, the
//! channels from a transposed panel of g. The batch is cut into a number of chunks that depends on
//! the shape alone, and their sums are added in order. Where weights are many, chunks are few
//! (their sums are the traffic then) and tasks are cut by input channel instead.

use super::panel::{PanelRow, cut, pack, with_rows};
use super::{input_walk, output_places, taps};
use crate::conv2d::places::Places;
use crate::conv2d::shape::Shape;
use crate::gemm::buffer::{Workspace, with_lines};
use crate::output::written;
use crate::vector::{Isa, Kernel, Vector};
use rayon::prelude::*;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Columns of a block of images at least, where the batch has them.
const COLUMNS: usize = 128;
/// Most registers of columns of a panel.
const REGISTERS: usize = 16;
/// Numbers that the sums of all chunks together have at most, where there is more than one chunk.
const SUMS: usize = 1 << 20;
/// Most chunks of a batch.
const CHUNKS: usize = 16;
/// Tasks that there should be at least, and rows of the sums that a task should have for that.
const TASKS: usize = 16;
const ROWS: usize = 96;

thread_local! {
    static WORKSPACE: Workspace = const { Cell::new(Vec::new()) };
}

/// The gradient with respect to w, `[out, in / groups, kh, kw]`, from g, that of y.
pub(in crate::conv2d) fn weight_gradient(isa: Isa, s: &Shape, x: &[f32], g: &[f32]) -> Vec<f32> {
    s.check(Some(x), None, Some(g));
    let groups = s.geometry.groups;
    let taps = taps(s);
    let (channels, out) = (s.cin / groups, s.cout / groups);
    let depth = channels * taps.len();
    let pixels = s.ho * s.wo;
    if s.w_len() == 0 || s.n * pixels == 0 {
        return vec![0.0; s.w_len()];
    }
    let images = COLUMNS.div_ceil(pixels).min(s.n);
    let blocks = s.n.div_ceil(images);
    let padded = out.next_multiple_of(isa.lanes());
    let chunks = (SUMS / (groups * depth * padded)).clamp(1, CHUNKS).min(blocks);
    let per_group = TASKS.div_ceil(chunks * groups).min(depth / ROWS).clamp(1, channels);
    let places = |images: usize| {
        (
            Places::new(input_walk(s), &taps, images, isa.lanes()),
            output_places(s, images, isa.lanes()),
        )
    };
    let (whole, rest) = (places(images), places(s.n % images));
    let width = REGISTERS.min(whole.0.vectors) * isa.lanes();
    let call =
        Call { s, taps: taps.len(), padded, width, images, whole: &whole, rest: &rest, x, g };
    // By chunk, then group, then part of the group's channels.
    let sums: Vec<Vec<f32>> = (0..chunks * groups * per_group)
        .into_par_iter()
        .map(|task| {
            let (chunk, group, part) =
                (task / (groups * per_group), task / per_group % groups, task % per_group);
            let blocks = chunk * blocks / chunks..(chunk + 1) * blocks / chunks;
            let channels = part * channels / per_group..(part + 1) * channels / per_group;
            let len = channels.len() * taps.len() * padded;
            let (x_len, g_len) = (channels.len() * taps.len() * call.width, padded * call.width);
            let write = |sums: &mut [MaybeUninit<f32>]| {
                let sums = sums.as_mut_ptr().cast();
                with_lines(
                    &WORKSPACE,
                    (x_len + g_len + isa.lanes() * call.width).div_ceil(16),
                    |panel| {
                        let (turned, strip) =
                            (panel.wrapping_add(x_len), panel.wrapping_add(x_len + g_len));
                        // SAFETY: the scratch memory has three parts of the sizes that the task
                        // expects, and the places lie in x and g.
                        unsafe {
                            isa.run(Task {
                                call: &call,
                                blocks,
                                group,
                                channels,
                                sums,
                                panel,
                                turned,
                                strip,
                            })
                        }
                    },
                )
            };
            // SAFETY: there are no more chunks than blocks of images, so that a task has at least
            // one block, whose sums are written.
            unsafe { written(len, write).0 }
        })
        .collect();
    added(&call, depth, chunks, per_group, &sums)
}

/// Output channels that one thread brings into order at a time: a line of the sums.
const LINE: usize = 16;

/// The sums of all chunks, in order, as `[out, channels · taps]`.
fn added(call: &Call, depth: usize, chunks: usize, parts: usize, sums: &[Vec<f32>]) -> Vec<f32> {
    let groups = call.s.geometry.groups;
    let out = call.s.cout / groups;
    let tasks = groups * parts;
    let mut dw = vec![0f32; call.s.w_len()];
    dw.par_chunks_mut(out * depth).enumerate().for_each(|(group, dw)| {
        dw.par_chunks_mut(LINE * depth).enumerate().for_each(|(line, dw)| {
            let first = line * LINE;
            let width = dw.len() / depth;
            let mut row = 0;
            for part in 0..parts {
                let task = group * parts + part;
                for at in (0..sums[task].len()).step_by(call.padded) {
                    let mut total = [0f32; LINE];
                    for chunk in 0..chunks {
                        let sums = &sums[chunk * tasks + task][at + first..][..width];
                        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
                    }
                    for (o, total) in total[..width].iter().enumerate() {
                        dw[o * depth + row] = *total;
                    }
                    row += 1;
                }
            }
        });
    });
    dw
}

/// What the tasks share.
struct Call<'a> {
    s: &'a Shape,
    taps: usize,
    /// Output channels of a group, in whole registers.
    padded: usize,
    /// Columns of a panel.
    width: usize,
    /// Images of a block, and the places in x and g of a whole block and of the last one.
    images: usize,
    whole: &'a (Places, Places),
    rest: &'a (Places, Places),
    x: &'a [f32],
    g: &'a [f32],
}

/// The sums of some blocks of images for some channels of a group.
struct Task<'a> {
    call: &'a Call<'a>,
    blocks: Range<usize>,
    group: usize,
    channels: Range<usize>,
    /// `[channels · taps, padded]`.
    sums: *mut f32,
    /// Scratch memory: the panel of x, that of g with channels innermost, and the channels of one
    /// register of g.
    panel: *mut f32,
    turned: *mut f32,
    strip: *mut f32,
}

impl Kernel for Task<'_> {
    type Output = ();

    /// # Safety
    /// `sums` is writable; the call's places lie in its x and g.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Task { call, blocks, group, channels, sums, panel, turned, strip } = self;
        let s = call.s;
        let (cin, out) = (s.cin / s.geometry.groups, s.cout / s.geometry.groups);
        let rows = channels.len() * call.taps;
        let width = call.width;
        let most = width / V::LANES;
        let panel_row = PanelRow::row::<V>();
        let mut fresh = true;
        for block in blocks {
            let image = block * call.images;
            let (under, over) = if image + call.images <= s.n { call.whole } else { call.rest };
            // SAFETY: the caller's promise.
            unsafe {
                let x =
                    call.x.as_ptr().add((image * s.cin + group * cin + channels.start) * s.h * s.w);
                let g = call.g.as_ptr().add((image * s.cout + group * out) * s.ho * s.wo);
                let mut first = 0;
                while first < under.vectors {
                    let registers = first..(first + most).min(under.vectors);
                    pack::<V>(
                        x,
                        channels.len(),
                        s.h * s.w,
                        under,
                        call.taps,
                        registers.clone(),
                        panel,
                        width,
                        panel_row,
                    );
                    turn::<V>(g, out, s.ho * s.wo, over, registers.clone(), strip, width, turned);
                    outer::<V>(
                        panel,
                        turned,
                        rows,
                        registers.len() * V::LANES,
                        width,
                        call.padded,
                        sums,
                        fresh,
                    );
                    fresh = false;
                    first = registers.end;
                }
            }
        }
    }
}

/// The panel of g with two registers of channels innermost: `[padded / 2 registers, columns, 2
/// registers]`; a last odd register stands alone.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
#[allow(clippy::too_many_arguments)] // Three operands with their steps.
unsafe fn turn<V: Vector>(
    g: *const f32,
    out: usize,
    channel_step: usize,
    places: &Places,
    registers: Range<usize>,
    strip: *mut f32,
    width: usize,
    turned: *mut f32,
) {
    let vectors = out.div_ceil(V::LANES);
    for vector in 0..vectors {
        let first = vector * V::LANES;
        let channels = (out - first).min(V::LANES);
        // SAFETY: the caller's promises.
        unsafe {
            pack::<V>(
                g.add(first * channel_step),
                channels,
                channel_step,
                places,
                1,
                registers.clone(),
                strip,
                width,
                PanelRow::row::<V>(),
            );
            for c in channels..V::LANES {
                for v in 0..registers.len() {
                    V::splat(0.0).store(strip.add(c * width + v * V::LANES));
                }
            }
            let alone = vector % 2 == 0 && vector + 1 == vectors;
            let step = if alone { V::LANES } else { 2 * V::LANES };
            let to = turned.add(vector / 2 * 2 * V::LANES * width + vector % 2 * V::LANES);
            for v in 0..registers.len() {
                V::transpose(strip.add(v * V::LANES), width, to.add(v * V::LANES * step), step);
            }
        }
    }
}

/// Adds the products of all rows and channels over some columns to the sums, or writes them where
/// `fresh`.
///
/// # Safety
/// `panel` holds `rows` rows `width` apart, `turned` is of [`turn`], `sums` is `[rows, padded]`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // Three operands with their steps.
unsafe fn outer<V: Vector>(
    panel: *const f32,
    turned: *const f32,
    rows: usize,
    columns: usize,
    width: usize,
    padded: usize,
    sums: *mut f32,
    fresh: bool,
) {
    let mut first = 0;
    while first < padded {
        // SAFETY: the caller's promises.
        unsafe {
            let g = turned.add(first * width);
            let sums = sums.add(first);
            if first + 2 * V::LANES <= padded {
                strip::<V, 2>(panel, g, rows, columns, width, padded, sums, fresh);
            } else {
                strip::<V, 1>(panel, g, rows, columns, width, padded, sums, fresh);
            }
        }
        first += 2 * V::LANES;
    }
}

/// [`outer`] for W registers of channels.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // As above.
unsafe fn strip<V: Vector, const W: usize>(
    panel: *const f32,
    g: *const f32,
    rows: usize,
    columns: usize,
    width: usize,
    padded: usize,
    sums: *mut f32,
    fresh: bool,
) {
    for block in 0..rows.div_ceil(V::ROWS) {
        let block = cut(rows, V::ROWS, block);
        // SAFETY: the caller's promises.
        unsafe {
            let (panel, sums) = (panel.add(block.start * width), sums.add(block.start * padded));
            with_rows!(V, block.len(), R => {
                let acc = product::<V, R, W>(panel, width, g, columns);
                for (r, acc) in acc.iter().enumerate() {
                    for (v, acc) in acc.iter().enumerate() {
                        let at = sums.add(r * padded + v * V::LANES);
                        if fresh { acc.store(at) } else { acc.add(V::load(at)).store(at) }
                    }
                }
            });
        }
    }
}

/// acc\[r\]\[v\] = Σ x\[r\]\[column\] · g\[column\]\[v\].
#[inline(always)]
unsafe fn product<V: Vector, const R: usize, const W: usize>(
    x: *const f32,
    x_step: usize,
    g: *const f32,
    columns: usize,
) -> [[V; W]; R] {
    // SAFETY: the caller's promises.
    unsafe {
        let mut acc = [[V::splat(0.0); W]; R];
        for column in 0..columns {
            let mut channels = [V::splat(0.0); W];
            for (v, channels) in channels.iter_mut().enumerate() {
                *channels = V::load(g.add((column * W + v) * V::LANES));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let pixel = V::splat(*x.add(r * x_step + column));
                for (acc, channels) in acc.iter_mut().zip(channels) {
                    *acc = pixel.mul_add(channels, *acc);
                }
            }
        }
        acc
    }
}
