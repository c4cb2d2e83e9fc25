//! From images to transformed tiles and back, a unit of sixteen tiles at a time.
//!
//! Rows are combined first, while a vector still holds sixteen pixels as they lie in memory, so
//! that four rows of vectors take part and not six; then a 4×4 transpose within groups of lanes
//! turns pixels into tiles, and columns are combined.

#![allow(clippy::needless_range_loop)] // Indices are the rows and columns of the formulas.

use super::plan::{Piece, Plan, Tables};
use super::tile::{EDGE, Tile};
use crate::Activation;
use crate::conv2d::epilogue::Epilogue;
use crate::vector::Sixteen;
use std::ops::Range;

/// Transformed tiles, one plane a position; or the sums that become outputs. In a plane, a row of
/// `row` values for each channel, and 16 of them for each unit. `plane` is not a multiple of a
/// page, because the same place is written in all planes at once.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub at: *mut f32,
    pub row: usize,
    pub plane: usize,
}

// SAFETY: a task writes to its own units or channels; what it reads was written before it began.
unsafe impl Send for Planes {}
// SAFETY: as above.
unsafe impl Sync for Planes {}

impl Planes {
    /// Planes of `rows` rows of `row` values.
    pub(super) fn new(at: *mut f32, rows: usize, row: usize) -> Self {
        Self { at, row, plane: Self::plane_len(rows, row) }
    }

    /// Such planes `values` further on.
    pub(super) fn after(self, values: usize) -> Self {
        Self { at: self.at.wrapping_add(values), ..self }
    }

    fn plane_len(rows: usize, row: usize) -> usize {
        (rows * row).next_multiple_of(1024) + 16
    }

    /// Values of `positions` planes.
    pub(super) fn len(positions: usize, rows: usize, row: usize) -> usize {
        positions * Self::plane_len(rows, row)
    }
}

/// Channels by which pixels are prefetched: a task reads a part of each, so that the processor sees
/// no long run.
const AHEAD: usize = 2;

/// An image batch that tasks write.
#[derive(Clone, Copy)]
pub(super) struct Sink {
    pub at: *mut f32,
    /// Write past the caches.
    pub stream: bool,
}

// SAFETY: tasks write to different pixels.
unsafe impl Send for Sink {}
// SAFETY: as above.
unsafe impl Sync for Sink {}

/// The pixels of a vector, of which `pieces` is the first piece. `ONE`: it is the only one.
#[inline(always)]
unsafe fn load_pieces<V: Sixteen, const ONE: bool>(
    image: *const f32,
    pieces: *const Piece,
    per_vector: usize,
) -> V {
    // SAFETY: the plan names pixels of the batch.
    unsafe {
        if ONE {
            return V::zero()
                .load_over(image.wrapping_offset((*pieces).at), u32::from((*pieces).lanes));
        }
        let mut v = V::zero();
        for i in 0..per_vector {
            let piece = *pieces.add(i);
            v = v.load_over(image.wrapping_offset(piece.at), u32::from(piece.lanes));
        }
        v
    }
}

/// V = Bᵀ d B of some channels, for the units of the tables, which hold N image rows.
///
/// # Safety
/// As for [`Sixteen`]; `x` is the batch of the plan, and `to` has room for the channels and the
/// units.
#[inline(always)]
pub(super) unsafe fn input<V: Sixteen, F: Tile>(
    plan: &Plan,
    tables: &Tables,
    x: &[f32],
    channels: Range<usize>,
    to: Planes,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if tables.per_vector == 1 {
            input_of::<V, F, true>(plan, tables, x, channels, to)
        } else {
            input_of::<V, F, false>(plan, tables, x, channels, to)
        }
    }
}

#[inline(always)]
unsafe fn input_of<V: Sixteen, F: Tile, const ONE: bool>(
    plan: &Plan,
    tables: &Tables,
    x: &[f32],
    channels: Range<usize>,
    to: Planes,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let neighbours = plan.neighbours::<F>();
        let (left, right) = (V::shift(&neighbours[0]), V::shift(&neighbours[1]));
        // Outside the loops, so that it is cleared once.
        let mut rows = [[V::zero(); EDGE]; EDGE];
        let ahead = (AHEAD * plan.images.height * plan.images.width) as isize;
        for c in channels {
            let image = x.as_ptr().wrapping_add(c * plan.images.height * plan.images.width);
            for (unit, table) in tables.units().enumerate() {
                let pieces = table.as_ptr();
                for r in 0..F::M {
                    let mut d = [V::zero(); EDGE];
                    for k in 0..F::N {
                        let piece = pieces.add((k * F::M + r) * tables.per_vector);
                        d[k] = load_pieces::<V, ONE>(image, piece, tables.per_vector);
                        if (1..=F::M).contains(&k) {
                            V::prefetch(image.wrapping_offset((*piece).at + ahead));
                        }
                    }
                    let e = F::input(&d);
                    for k in 0..F::N {
                        rows[k][r] = e[k];
                    }
                }
                let mut to_position = to.at.add(c * to.row + unit * 16);
                for row in &rows[..F::N] {
                    let phases = F::phases(row);
                    let mut d = [V::zero(); EDGE];
                    d[0] = phases[F::M - 1].permute(left);
                    d[1..=F::M].copy_from_slice(&phases[..F::M]);
                    d[F::N - 1] = phases[0].permute(right);
                    for v in &F::input(&d)[..F::N] {
                        v.store(to_position);
                        to_position = to_position.wrapping_add(to.plane);
                    }
                }
            }
        }
    }
}

/// y = act(Aᵀ M A + bias + residual) of some channels, for the units of the tables, which hold M image rows.
///
/// # Safety
/// As for [`Sixteen`]; `y` is the batch of the plan, `from` holds the sums of the channels and
/// units; the epilogue is that of y.
#[inline(always)]
pub(super) unsafe fn output<V: Sixteen, F: Tile>(
    plan: &Plan,
    tables: &Tables,
    from: Planes,
    channels: Range<usize>,
    epilogue: &Epilogue,
    y: Sink,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Outside the loops, so that it is cleared once.
        let mut rows = [[V::zero(); EDGE]; EDGE];
        let relu = epilogue.act == Activation::Relu;
        for c in channels {
            let image = y.at.wrapping_add(c * plan.images.height * plan.images.width);
            let b = epilogue.bias.map_or(0.0, |b| b[c]);
            let b = V::splat(b);
            let residual = epilogue
                .residual
                .map(|r| r.as_ptr().wrapping_add(c * plan.images.height * plan.images.width));
            for (unit, table) in tables.units().enumerate() {
                let from_unit = from.at.add(c * from.row + unit * 16);
                for j in 0..F::N {
                    let mut m = [V::zero(); EDGE];
                    for k in 0..F::N {
                        m[k] = V::load(from_unit.add((k * F::N + j) * from.plane));
                    }
                    let e = F::output(&m);
                    for i in 0..F::M {
                        rows[i][j] = e[i];
                    }
                }
                for i in 0..F::M {
                    let mut phases = F::output(&rows[i]);
                    for phase in &mut phases[..F::M] {
                        *phase = phase.add(b);
                    }
                    for (r, pixels) in F::pixels(&phases)[..F::M].iter().enumerate() {
                        let pieces =
                            &table[(i * F::M + r) * tables.per_vector..][..tables.per_vector];
                        let mut pixels = *pixels;
                        if let Some(residual) = residual {
                            pixels = pixels.add(load_pieces::<V, false>(
                                residual,
                                pieces.as_ptr(),
                                tables.per_vector,
                            ));
                        }
                        if relu {
                            pixels = pixels.rectify();
                        }
                        for piece in pieces {
                            let to = image.wrapping_offset(piece.at);
                            let lanes = u32::from(piece.lanes);
                            if y.stream && lanes == V::FULL {
                                pixels.stream(to)
                            } else {
                                pixels.store_lanes(to, lanes)
                            }
                        }
                    }
                }
            }
        }
        if y.stream {
            // What tells other threads that this task is done orders ordinary stores only.
            V::fence();
        }
    }
}

/// Z = A g Aᵀ of 16 channels from `channel` on, for the units of the tables, which hold M image
/// rows. A row of `to` is a tile, in the order of lanes of [`input`]'s vectors, and holds the
/// channels; channels past the last are 0.
///
/// # Safety
/// As for [`Sixteen`]; `g` is the batch of the plan, and `to` has room for 16 rows for each unit.
#[inline(always)]
pub(super) unsafe fn gradient<V: Sixteen, F: Tile>(
    plan: &Plan,
    tables: &Tables,
    g: &[f32],
    channel: usize,
    to: Planes,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if tables.per_vector == 1 {
            gradient_of::<V, F, true>(plan, tables, g, channel, to)
        } else {
            gradient_of::<V, F, false>(plan, tables, g, channel, to)
        }
    }
}

#[inline(always)]
unsafe fn gradient_of<V: Sixteen, F: Tile, const ONE: bool>(
    plan: &Plan,
    tables: &Tables,
    g: &[f32],
    channel: usize,
    to: Planes,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let pixels = plan.images.height * plan.images.width;
        let channels = (plan.images.channels - channel).min(16);
        let image = g.as_ptr().wrapping_add(channel * pixels);
        let tiles = 16 / F::M;
        let mut lane_of = [0; 16];
        for lane in 0..16 {
            lane_of[F::tile_of(lane)] = lane;
        }
        // For each image row of the tiles in a vector, its 16 pixels, each with all channels.
        let mut rows = [[V::zero(); 16]; EDGE];
        for (unit, table) in tables.units().enumerate() {
            for r in 0..F::M {
                for k in 0..F::M {
                    let piece = table.as_ptr().add((k * F::M + r) * tables.per_vector);
                    let mut lines = [V::zero(); 16];
                    for c in 0..channels {
                        lines[c] = load_pieces::<V, ONE>(
                            image.wrapping_add(c * pixels),
                            piece,
                            tables.per_vector,
                        );
                    }
                    rows[k] = V::transpose16(lines);
                }
                for tile in 0..tiles {
                    let mut down = [[V::zero(); EDGE]; EDGE];
                    for j in 0..F::M {
                        let mut d = [V::zero(); EDGE];
                        for k in 0..F::M {
                            d[k] = rows[k][tile * F::M + j];
                        }
                        let e = F::gradient(&d);
                        for k in 0..F::N {
                            down[k][j] = e[k];
                        }
                    }
                    let row = unit * 16 + lane_of[r * tiles + tile];
                    let mut to_position = to.at.add(row * to.row + channel);
                    for row in &down[..F::N] {
                        for v in &F::gradient(row)[..F::N] {
                            v.store(to_position);
                            to_position = to_position.wrapping_add(to.plane);
                        }
                    }
                }
            }
        }
    }
}
