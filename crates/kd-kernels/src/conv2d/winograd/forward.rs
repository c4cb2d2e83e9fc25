//! The forward pass; with adjoint kernels, the gradient of the input.
//!
//! Where the transformed weights leave room in the second-level cache, a task takes some units
//! through all three steps, and neither transformed tiles nor sums leave its cache. Otherwise the
//! steps run one after another over many units, and the products are shared by position, so that
//! transformed weights are read once for all of them.

use super::plan::{Images, Plan, Tables};
use super::product::{PANEL, WinogradProduct, product};
use super::scratch::{Workspace, with_scratch};
use super::tile::Tile;
use super::transform::{Planes, Sink, input, output};
use super::weights::{Kernels, transform};
use super::{CACHE, SHARED, for_each, runs};
use crate::conv2d::epilogue::Epilogue;
use crate::output::written;
use crate::vector::{Isa, Kernel, Vector};
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

thread_local! {
    static WEIGHTS: Workspace = const { Cell::new(None) };
    static TILES: Workspace = const { Cell::new(None) };
}

/// Bytes from which an output is written past the caches.
const STREAM: usize = 4 << 20;

/// y = act(x * kernels + bias + residual), as `[count, outer, height, width]`.
pub(super) fn convolve<F: Tile>(
    isa: Isa,
    images: Images,
    kernels: Kernels,
    x: &[f32],
    epilogue: Epilogue,
) -> Vec<f32> {
    assert_eq!(x.len(), images.len(), "the values of {images:?}");
    let plan = Plan::new::<F>(images);
    let out = Plan::new::<F>(Images { channels: kernels.outer, ..images });
    let len = out.images.len();
    epilogue.check(kernels.outer, len);
    let write = |y: &mut [MaybeUninit<f32>]| {
        let aligned = (y.as_ptr() as usize).is_multiple_of(64) && images.width.is_multiple_of(16);
        let sink = Sink { at: y.as_mut_ptr().cast(), stream: aligned && size_of_val(y) >= STREAM };
        // SAFETY: the lengths are checked, and `y` has that of the images of `out`.
        unsafe { all_steps::<F>(isa, (plan, out), kernels, x, epilogue, sink) }
    };
    // SAFETY: every pixel belongs to one tile of one unit, and each unit of each channel is
    // written.
    unsafe { written(len, write).0 }
}

/// # Safety
/// `y` is writable for the images of the second plan, and x and the epilogue are those of the plans
/// and the kernels.
unsafe fn all_steps<F: Tile>(
    isa: Isa,
    (plan, out): (Plan, Plan),
    kernels: Kernels,
    x: &[f32],
    epilogue: Epilogue,
    y: Sink,
) {
    let (panels, panel_len) = (kernels.panels(), kernels.panel_len());
    let weights_len = Planes::len(F::POSITIONS, panels, panel_len);
    with_scratch(&WEIGHTS, weights_len, |u| {
        let weights = Planes::new(u, panels, panel_len);
        let step =
            Steps { isa, plan, out, kernels, weights, x, epilogue, y, tile: PhantomData::<F> };
        for_each(panels, |panel| step.run(Step::Weights(panel)));
        // Transformed tiles and sums of a unit.
        let rows = kernels.inner + panels * PANEL;
        let unit = F::POSITIONS * rows * 64;
        if weights_len * size_of::<f32>() <= CACHE {
            let most = (CACHE / unit).next_multiple_of(3);
            for_each_group(plan.units, most, |units| step.fused(units));
        } else {
            for units in runs(plan.units, (SHARED / unit).next_multiple_of(3)) {
                step.apart(units);
            }
        }
    });
}

/// Cuts units into groups of at most `most`, as many for each thread.
fn for_each_group(units: usize, most: usize, task: impl Fn(Range<usize>) + Send + Sync) {
    let threads = rayon::current_num_threads();
    let groups = (units.div_ceil(threads).div_ceil(most) * threads).min(units);
    for_each(groups, |i| task(i * units / groups..(i + 1) * units / groups));
}

#[derive(Clone, Copy)]
struct Steps<'a, F> {
    isa: Isa,
    plan: Plan,
    out: Plan,
    kernels: Kernels<'a>,
    weights: Planes,
    x: &'a [f32],
    epilogue: Epilogue<'a>,
    y: Sink,
    tile: PhantomData<F>,
}

/// A part of the work. Transformed tiles and sums hold the units from the first of the tables on.
#[derive(Clone)]
enum Step<'a> {
    /// The transform of one panel of weights.
    Weights(usize),
    /// Tiles of some channels.
    Input { tables: &'a Tables, channels: Range<usize>, to: Planes },
    /// Sums at some positions.
    Products { units: usize, positions: Range<usize>, tiles: Planes, sums: Planes },
    /// Outputs of some channels.
    Output { tables: &'a Tables, channels: Range<usize>, from: Planes },
}

impl<F: Tile> Steps<'_, F> {
    fn run(&self, step: Step) {
        // SAFETY: the planes that are made for a step have room for it, and the plans are those of
        // x and y.
        unsafe { self.isa.run(Bound { steps: self, step }) }
    }

    /// The planes of transformed tiles and of sums for some units, and their length.
    fn planes(&self, units: usize) -> (impl Fn(*mut f32) -> (Planes, Planes), usize) {
        // An odd number of lines, so that channels do not fall on the same places of a cache.
        let row = units * 16 + if units.is_multiple_of(2) { 16 } else { 0 };
        let (inner, outer) = (self.kernels.inner, self.kernels.panels() * PANEL);
        let tiles = Planes::len(F::POSITIONS, inner, row);
        let both = move |at: *mut f32| {
            (Planes::new(at, inner, row), Planes::new(at.wrapping_add(tiles), outer, row))
        };
        (both, tiles + Planes::len(F::POSITIONS, outer, row))
    }

    /// All steps of some units, on this thread.
    fn fused(&self, units: Range<usize>) {
        let (planes, len) = self.planes(units.len());
        let tables = self.plan.tables(units.clone(), F::N, 1);
        let out = self.out.tables(units.clone(), F::M, 0);
        with_scratch(&TILES, len, |at| {
            let (tiles, sums) = planes(at);
            self.run(Step::Input { tables: &tables, channels: 0..self.kernels.inner, to: tiles });
            self.run(Step::Products {
                units: units.len(),
                positions: 0..F::POSITIONS,
                tiles,
                sums,
            });
            self.run(Step::Output { tables: &out, channels: 0..self.kernels.outer, from: sums });
        })
    }

    /// Step after step, each shared among the threads.
    fn apart(&self, units: Range<usize>) {
        let (planes, len) = self.planes(units.len());
        let tables = self.plan.tables(units.clone(), F::N, 1);
        let out = self.out.tables(units.clone(), F::M, 0);
        with_scratch(&TILES, len, |at| {
            let (tiles, sums) = planes(at);
            let inner: Vec<_> = runs(self.kernels.inner, PANEL).collect();
            for_each(inner.len(), |i| {
                self.run(Step::Input { tables: &tables, channels: inner[i].clone(), to: tiles })
            });
            for_each(F::POSITIONS, |p| {
                self.run(Step::Products { units: units.len(), positions: p..p + 1, tiles, sums })
            });
            let outer: Vec<_> = runs(self.kernels.outer, PANEL).collect();
            for_each(outer.len(), |i| {
                self.run(Step::Output { tables: &out, channels: outer[i].clone(), from: sums })
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
        // y.
        unsafe {
            match self.step {
                Step::Weights(panel) => transform::<V::Sixteen, F>(&s.kernels, panel, s.weights),
                Step::Input { tables, channels, to } => {
                    input::<V::Sixteen, F>(&s.plan, tables, s.x, channels, to)
                }
                Step::Products { units, positions, tiles, sums } => {
                    for position in positions {
                        product::<V::Sixteen>(WinogradProduct {
                            panels: s.kernels.panels(),
                            vectors: units,
                            depth: s.kernels.inner,
                            a: s.weights.at.add(position * s.weights.plane),
                            a_panel: s.weights.row,
                            a_row: 1,
                            a_step: PANEL,
                            b: tiles.at.add(position * tiles.plane),
                            b_row: tiles.row,
                            c: sums.at.add(position * sums.plane),
                            c_row: sums.row,
                            accumulate: false,
                        });
                    }
                }
                Step::Output { tables, channels, from } => {
                    output::<V::Sixteen, F>(&s.out, tables, from, channels, &s.epilogue, s.y)
                }
            }
        }
    }
}
