//! The gradient of the weights: the exact adjoint of the forward pass, dw = Gᵀ [Σ (Bᵀ d B) ⊙ (A g
//! Aᵀ)] G over the tiles of the batch.
//!
//! Where the sums of all positions leave room in the second-level cache, the batch is cut into a
//! fixed number of parts, which are summed in order. Otherwise the steps run one after another over
//! many units, and the products are shared by position. Neither cut depends on the
//! number of threads.

use super::plan::{Images, Plan, Tables};
use super::product::{PANEL, WinogradProduct, product};
use super::scratch::{Workspace, with_scratch};
use super::tile::Tile;
use super::transform::{Planes, Sink, gradient, input};
use super::{CACHE, SHARED, for_each, runs, weights};
use crate::output::written;
use crate::vector::{Isa, Kernel, Vector};
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

thread_local! {
    static SUMS: Workspace = const { Cell::new(None) };
    static TILES: Workspace = const { Cell::new(None) };
}

/// Parts of a batch, at most.
const PARTS: usize = 8;

/// dw, `[outs, channels of the images, 3, 3]`, from x and from g, the gradient of y.
pub(super) fn weight_gradient<F: Tile>(
    isa: Isa,
    images: Images,
    outs: usize,
    x: &[f32],
    g: &[f32],
) -> Vec<f32> {
    let of_g = Images { channels: outs, ..images };
    assert_eq!(
        (x.len(), g.len()),
        (images.len(), of_g.len()),
        "the values of {images:?} and of {outs} channels"
    );
    let len = outs * images.channels * 9;
    let write = |dw: &mut [MaybeUninit<f32>]| {
        let to = Sink { at: dw.as_mut_ptr().cast(), stream: false };
        // SAFETY: the operands have the lengths of the images, and `dw` that of the kernels.
        unsafe { all_steps::<F>(isa, (images, of_g), x, g, to) }
    };
    // SAFETY: the last step writes the kernels of every input channel.
    unsafe { written(len, write).0 }
}

/// # Safety
/// x and g are of these images, and `to` is writable for the kernels from the channels of the first
/// to those of the second.
unsafe fn all_steps<F: Tile>(
    isa: Isa,
    (images, of_g): (Images, Images),
    x: &[f32],
    g: &[f32],
    to: Sink,
) {
    let (plan, outs) = (Plan::new::<F>(images), of_g.channels);
    let ins = images.channels;
    let columns = outs.next_multiple_of(16);
    let rows = ins.next_multiple_of(PANEL);
    let sums_len = Planes::len(F::POSITIONS, rows, columns);
    // Transformed tiles of a unit, of both operands.
    let unit = F::POSITIONS * (rows + columns) * 64;
    let parts =
        if sums_len * size_of::<f32>() <= CACHE { plan.units.div_ceil(4).min(PARTS) } else { 1 };
    with_scratch(&SUMS, parts * sums_len, |sums| {
        let sums = Planes::new(sums, rows, columns);
        let step = Steps {
            isa,
            plan,
            of_g: Plan::new::<F>(of_g),
            rows,
            columns,
            outs,
            x,
            g,
            sums,
            parts,
            part_len: sums_len,
            dw: to,
            tile: PhantomData::<F>,
        };
        if parts > 1 {
            for_each(parts, |part| {
                let units = part * plan.units / parts..(part + 1) * plan.units / parts;
                step.part(units, (CACHE / unit).max(1), sums.after(part * sums_len));
            });
        } else {
            let mut accumulate = false;
            // Sums are read and written once for each run of units.
            let most = SHARED.max(sums_len * size_of::<f32>()) / unit;
            for units in runs(plan.units, most.max(1)) {
                step.apart(units, accumulate);
                accumulate = true;
            }
        }
        let channels: Vec<_> = runs(ins, PANEL).collect();
        for_each(channels.len(), |i| step.run(Step::Finish { channels: channels[i].clone() }));
    });
}

#[derive(Clone, Copy)]
struct Steps<'a, F> {
    isa: Isa,
    plan: Plan,
    of_g: Plan,
    /// Input and output channels with padding.
    rows: usize,
    columns: usize,
    outs: usize,
    x: &'a [f32],
    g: &'a [f32],
    sums: Planes,
    parts: usize,
    part_len: usize,
    dw: Sink,
    tile: PhantomData<F>,
}

/// A part of the work. Transformed tiles hold the units from the first of the tables on.
enum Step<'a> {
    /// Tiles of x, of some channels.
    Input { tables: &'a Tables, channels: Range<usize>, to: Planes },
    /// Tiles of g, of 16 channels from one on.
    Gradient { tables: &'a Tables, channel: usize, to: Planes },
    /// Sums at some positions.
    Products {
        units: usize,
        positions: Range<usize>,
        x: Planes,
        g: Planes,
        sums: Planes,
        accumulate: bool,
    },
    /// Gradients of the weights of some input channels.
    Finish { channels: Range<usize> },
}

impl<F: Tile> Steps<'_, F> {
    fn run(&self, step: Step) {
        // SAFETY: the planes that are made for a step have room for it, and the plans are those of
        // x and g.
        unsafe { self.isa.run(Bound { steps: self, step }) }
    }

    /// The planes of the tiles of x and of g for some units, and their length.
    fn planes(&self, units: usize) -> (impl Fn(*mut f32) -> (Planes, Planes), usize) {
        let row = units * 16 + if units.is_multiple_of(2) { 16 } else { 0 };
        let (rows, columns) = (self.rows, self.columns);
        let x = Planes::len(F::POSITIONS, rows, row);
        let both = move |at: *mut f32| {
            (Planes::new(at, rows, row), Planes::new(at.wrapping_add(x), units * 16, columns))
        };
        (both, x + Planes::len(F::POSITIONS, units * 16, columns))
    }

    /// The sums of one part of the batch, `most` units at a time, on this thread.
    fn part(&self, units: Range<usize>, most: usize, sums: Planes) {
        let groups = units.len().div_ceil(most);
        let (planes, len) = self.planes(units.len().div_ceil(groups));
        with_scratch(&TILES, len, |at| {
            let (x, g) = planes(at);
            for group in 0..groups {
                let first = units.start + group * units.len() / groups;
                let units = first..units.start + (group + 1) * units.len() / groups;
                let of_x = self.plan.tables(units.clone(), F::N, 1);
                let of_g = self.of_g.tables(units.clone(), F::M, 0);
                self.run(Step::Input {
                    tables: &of_x,
                    channels: 0..self.plan.images.channels,
                    to: x,
                });
                for channel in (0..self.outs).step_by(16) {
                    self.run(Step::Gradient { tables: &of_g, channel, to: g });
                }
                let accumulate = group > 0;
                self.run(Step::Products {
                    units: units.len(),
                    positions: 0..F::POSITIONS,
                    x,
                    g,
                    sums,
                    accumulate,
                });
            }
        })
    }

    /// Step after step, each shared among the threads.
    fn apart(&self, units: Range<usize>, accumulate: bool) {
        let (planes, len) = self.planes(units.len());
        let of_x = self.plan.tables(units.clone(), F::N, 1);
        let of_g = self.of_g.tables(units.clone(), F::M, 0);
        with_scratch(&TILES, len, |at| {
            let (x, g) = planes(at);
            let channels: Vec<_> = runs(self.plan.images.channels, PANEL).collect();
            for_each(channels.len(), |i| {
                self.run(Step::Input { tables: &of_x, channels: channels[i].clone(), to: x })
            });
            for_each(self.columns / 16, |i| {
                self.run(Step::Gradient { tables: &of_g, channel: 16 * i, to: g })
            });
            for_each(F::POSITIONS, |p| {
                self.run(Step::Products {
                    units: units.len(),
                    positions: p..p + 1,
                    x,
                    g,
                    sums: self.sums,
                    accumulate,
                })
            });
        })
    }
}

struct Bound<'a, 'b, F> {
    steps: &'a Steps<'b, F>,
    step: Step<'a>,
}

impl<F: Tile> Kernel for Bound<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let s = self.steps;
        // SAFETY: the planes have room for the units and channels, and the plans are those of x and
        // g.
        unsafe {
            match self.step {
                Step::Input { tables, channels, to } => {
                    input::<V::Sixteen, F>(&s.plan, tables, s.x, channels, to)
                }
                Step::Gradient { tables, channel, to } => {
                    gradient::<V::Sixteen, F>(&s.of_g, tables, s.g, channel, to)
                }
                Step::Products { units, positions, x, g, sums, accumulate } => {
                    for position in positions {
                        product::<V::Sixteen>(WinogradProduct {
                            panels: s.rows / PANEL,
                            vectors: s.columns / 16,
                            depth: units * 16,
                            a: x.at.add(position * x.plane),
                            a_panel: PANEL * x.row,
                            a_row: x.row,
                            a_step: 1,
                            b: g.at.add(position * g.plane),
                            b_row: g.row,
                            c: sums.at.add(position * sums.plane),
                            c_row: sums.row,
                            accumulate,
                        });
                    }
                }
                Step::Finish { channels } => {
                    for channel in channels {
                        for first in (0..s.outs).step_by(16) {
                            let parts = (s.sums, s.parts, s.part_len);
                            weights::gradient::<V::Sixteen, F>(
                                parts,
                                (s.outs, s.plan.images.channels),
                                (first, channel),
                                s.dw.at,
                            );
                        }
                    }
                }
            }
        }
    }
}
