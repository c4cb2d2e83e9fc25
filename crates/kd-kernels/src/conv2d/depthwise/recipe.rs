//! Where each register of a plane finds its terms: the same for all planes of a call.

use crate::conv2d::places::{Part, Places, Walk};
use crate::conv2d::shape::Shape;
use crate::vector::{Isa, Vector};

/// How the lanes of a part lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// Lane l at offset + l · step.
    Step(usize),
    /// The lanes of the mask one after another from the offset: what the gradient of x reads where
    /// there are strides.
    Expand,
}

/// Planes that share a register, if `pixels` and the number of channels allow it.
fn shared(isa: Isa, pixels: usize, channels: usize) -> usize {
    let planes = isa.lanes() / pixels.max(1);
    if planes > 1 && isa.lanes().is_multiple_of(pixels) && channels.is_multiple_of(planes) {
        planes
    } else {
        1
    }
}

/// For each register of the planes that are written and each tap, where the pixels of the plane
/// that is read lie. Every tap has the same number of parts, some of them empty, so that the loop
/// over them has no branch to guess.
#[derive(Debug)]
pub(super) struct Recipe {
    pub vectors: usize,
    pub taps: usize,
    /// Planes that the registers hold: several where one fills only a part of a register.
    pub planes: usize,
    /// Parts of one register under one tap.
    per: usize,
    spread: Spread,
    /// `[vectors, taps, per]`.
    parts: Vec<Part>,
    /// Lanes of the last register.
    last: u32,
}

const NONE: Part = Part { offset: 0, mask: 0 };

impl Recipe {
    /// Reads x for each pixel of y.
    pub(super) fn forward(isa: Isa, s: &Shape) -> Self {
        let near = |k: usize| k as isize - s.geometry.padding as isize;
        let taps: Vec<_> = (0..s.kh * s.kw).map(|t| (near(t / s.kw), near(t % s.kw))).collect();
        let walk = Walk {
            rows: s.ho,
            cols: s.wo,
            height: s.h,
            width: s.w,
            step: s.geometry.stride,
            image: s.h * s.w,
        };
        Self::from_places(isa, s.cin, walk, &taps)
    }

    /// Reads g for each pixel of x.
    pub(super) fn adjoint(isa: Isa, s: &Shape) -> Self {
        let stride = s.geometry.stride;
        let far = |k: usize| s.geometry.padding as isize - k as isize;
        if stride == 1 {
            let taps: Vec<_> = (0..s.kh * s.kw).map(|t| (far(t / s.kw), far(t % s.kw))).collect();
            let walk = Walk {
                rows: s.h,
                cols: s.w,
                height: s.ho,
                width: s.wo,
                step: 1,
                image: s.ho * s.wo,
            };
            return Self::from_places(isa, s.cin, walk, &taps);
        }
        // The pixel of g whose place k of the kernel lies over pixel `at` of x, if there is one.
        let over = |at: usize, k: usize, size: usize| {
            let from = (at + s.geometry.padding).checked_sub(k)?;
            (from.is_multiple_of(stride) && from / stride < size).then_some(from / stride)
        };
        let lanes = isa.lanes();
        let planes = shared(isa, s.h * s.w, s.cin);
        let pixels = planes * s.h * s.w;
        let vectors = pixels.div_ceil(lanes);
        let mut lists = Vec::with_capacity(vectors * s.kh * s.kw);
        for vector in 0..vectors {
            for tap in 0..s.kh * s.kw {
                let mut list: Vec<Part> = Vec::new();
                for lane in 0..lanes.min(pixels - vector * lanes) {
                    let (plane, pixel) = (
                        (vector * lanes + lane) / (s.h * s.w),
                        (vector * lanes + lane) % (s.h * s.w),
                    );
                    let (y, x) =
                        (over(pixel / s.w, tap / s.kw, s.ho), over(pixel % s.w, tap % s.kw, s.wo));
                    let Some((i, j)) = y.zip(x) else { continue };
                    let offset = ((plane * s.ho + i) * s.wo + j) as isize;
                    match list.last_mut() {
                        Some(last) if last.offset + last.mask.count_ones() as isize == offset => {
                            last.mask |= 1 << lane
                        }
                        _ => list.push(Part { offset, mask: 1 << lane }),
                    }
                }
                lists.push(list);
            }
        }
        Self::padded(
            lists.iter().map(Vec::as_slice),
            [vectors, s.kh * s.kw, planes],
            Spread::Expand,
            last(pixels, lanes),
        )
    }

    fn from_places(isa: Isa, channels: usize, walk: Walk, taps: &[(isize, isize)]) -> Self {
        let pixels = walk.rows * walk.cols;
        let planes = shared(isa, pixels, channels);
        let places = &Places::new(walk, taps, planes, isa.lanes());
        let lists =
            (0..places.vectors).flat_map(|v| (0..taps.len()).map(move |t| places.parts(t, v)));
        Self::padded(
            lists,
            [places.vectors, taps.len(), planes],
            Spread::Step(walk.step),
            last(planes * pixels, isa.lanes()),
        )
    }

    fn padded<'a>(
        lists: impl Iterator<Item = &'a [Part]> + Clone,
        [vectors, taps, planes]: [usize; 3],
        spread: Spread,
        last: u32,
    ) -> Self {
        let per = lists.clone().map(<[Part]>::len).max().unwrap_or(0).max(1);
        let parts = lists
            .flat_map(|list| list.iter().copied().chain(std::iter::repeat(NONE)).take(per))
            .collect();
        Self { vectors, taps, planes, per, spread, parts, last }
    }

    /// The mask of register `vector`.
    #[inline(always)]
    pub(super) fn mask<V: Vector>(&self, vector: usize) -> u32 {
        if vector + 1 == self.vectors { self.last } else { V::FULL }
    }

    /// The weights as [`Recipe::weighted`] reads them: by tap, and by lane too where planes share a
    /// register.
    pub(super) fn weights(&self, w: &[f32], lanes: usize) -> Vec<f32> {
        if self.planes == 1 {
            return w.to_vec();
        }
        let mut by_lane = Vec::with_capacity(w.len() / self.planes * lanes);
        for planes in w.chunks_exact(self.planes * self.taps) {
            for tap in 0..self.taps {
                by_lane.extend(
                    (0..lanes).map(|lane| planes[lane * self.planes / lanes * self.taps + tap]),
                );
            }
        }
        by_lane
    }

    /// acc + Σ over taps of w\[tap\] · pixels of `plane` under the tap. `WIDE` where planes share a
    /// register.
    ///
    /// # Safety
    /// `plane` is readable at all places, `w` for all taps; V's set is there.
    #[inline(always)]
    pub(super) unsafe fn weighted<V: Vector, const WIDE: bool>(
        &self,
        plane: *const f32,
        w: *const f32,
        vector: usize,
        acc: V,
    ) -> V {
        let parts = &self.parts[vector * self.taps * self.per..][..self.taps * self.per];
        // SAFETY: the caller's promises.
        unsafe {
            match (self.spread, self.per) {
                (Spread::Step(1), 1) => weighted::<V, Shifted, WIDE>(plane, w, parts, 1, 1, acc),
                (Spread::Step(2), 1) => weighted::<V, Shifted, WIDE>(plane, w, parts, 1, 2, acc),
                (Spread::Step(2), 2) => weighted::<V, Shifted, WIDE>(plane, w, parts, 2, 2, acc),
                (Spread::Step(step), per) => {
                    weighted::<V, Shifted, WIDE>(plane, w, parts, per, step, acc)
                }
                (Spread::Expand, 1) => weighted::<V, Expanded, WIDE>(plane, w, parts, 1, 1, acc),
                (Spread::Expand, per) => {
                    weighted::<V, Expanded, WIDE>(plane, w, parts, per, 1, acc)
                }
            }
        }
    }

    /// Σ over registers of `by` · pixels of `plane` under one tap, by lane.
    ///
    /// # Safety
    /// As [`Recipe::weighted`]; `by` is readable for all registers' lanes.
    #[inline(always)]
    pub(super) unsafe fn correlated<V: Vector>(
        &self,
        plane: *const f32,
        by: *const f32,
        tap: usize,
        acc: V,
    ) -> V {
        // SAFETY: the caller's promises.
        unsafe {
            match (self.spread, self.per) {
                (Spread::Step(1), 1) => self.correlated_by::<V>(plane, by, tap, 1, 1, acc),
                (Spread::Step(2), 1) => self.correlated_by::<V>(plane, by, tap, 1, 2, acc),
                (Spread::Step(2), 2) => self.correlated_by::<V>(plane, by, tap, 2, 2, acc),
                (Spread::Step(step), per) => {
                    self.correlated_by::<V>(plane, by, tap, per, step, acc)
                }
                (Spread::Expand, _) => {
                    unreachable!("gradients of weights read x, which is never expanded")
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn correlated_by<V: Vector>(
        &self,
        plane: *const f32,
        by: *const f32,
        tap: usize,
        per: usize,
        step: usize,
        mut acc: V,
    ) -> V {
        for vector in 0..self.vectors {
            let parts = &self.parts[(vector * self.taps + tap) * per..][..per];
            // SAFETY: the caller's promises.
            unsafe {
                let by = by.add(vector * V::LANES);
                let by = if vector + 1 == self.vectors {
                    V::load_lanes(by, 1, self.last)
                } else {
                    V::load(by)
                };
                for part in parts {
                    acc = by.mul_add(
                        V::load_lanes(plane.wrapping_offset(part.offset), step, part.mask),
                        acc,
                    );
                }
            }
        }
        acc
    }
}

/// Taps of the kernel that nearly all networks use, for which the loops over taps are unrolled.
pub(super) const NINE: usize = 9;

impl Recipe {
    /// The step between lanes, where there are nine taps of one part each and the lanes lie at a
    /// step: the case that is unrolled.
    pub(super) fn nine(&self) -> Option<usize> {
        match self.spread {
            Spread::Step(step) if self.taps == NINE && self.per == 1 => Some(step),
            _ => None,
        }
    }

    /// [`Recipe::weighted`] in the case of [`Recipe::nine`], with the weights in registers.
    ///
    /// # Safety
    /// Those promises are the caller's that [`Recipe::weighted`] asks for.
    #[inline(always)]
    pub(super) unsafe fn weighted_nine<V: Vector>(
        &self,
        plane: *const f32,
        w: &[V; NINE],
        step: usize,
        vector: usize,
        init: V,
    ) -> V {
        let parts = &self.parts[vector * NINE..][..NINE];
        // SAFETY: the caller's promises.
        unsafe {
            // Three chains of sums, since one would wait for itself.
            let mut acc = [init, V::splat(0.0), V::splat(0.0)];
            for tap in 0..NINE {
                let part = parts[tap];
                acc[tap % 3] = w[tap].mul_add(
                    V::load_lanes(plane.wrapping_offset(part.offset), step, part.mask),
                    acc[tap % 3],
                );
            }
            acc[0].add(acc[1]).add(acc[2])
        }
    }

    /// [`Recipe::correlated`] for all taps at once, in the case of [`Recipe::nine`].
    ///
    /// # Safety
    /// As [`Recipe::correlated`]; `sums` holds nine registers.
    #[inline(always)]
    pub(super) unsafe fn correlated_nine<V: Vector>(
        &self,
        plane: *const f32,
        by: *const f32,
        step: usize,
        sums: *mut f32,
    ) {
        // SAFETY: the caller's promises.
        unsafe {
            let mut acc = [V::splat(0.0); NINE];
            for (vector, parts) in self.parts.chunks_exact(NINE).enumerate() {
                let by = V::load_lanes(by.add(vector * V::LANES), 1, self.mask::<V>(vector));
                for tap in 0..NINE {
                    let part = parts[tap];
                    acc[tap] = by.mul_add(
                        V::load_lanes(plane.wrapping_offset(part.offset), step, part.mask),
                        acc[tap],
                    );
                }
            }
            for (tap, acc) in acc.iter().enumerate() {
                let sum = sums.add(tap * V::LANES);
                V::load(sum).add(*acc).store(sum);
            }
        }
    }
}

/// The mask of the last of the registers that `len` numbers fill.
fn last(len: usize, lanes: usize) -> u32 {
    let rest = len - len.saturating_sub(1) / lanes * lanes;
    ((1u64 << rest) - 1) as u32
}

/// A way of reading a part.
trait Read {
    unsafe fn read<V: Vector>(p: *const f32, step: usize, mask: u32) -> V;
}

struct Shifted;
struct Expanded;

impl Read for Shifted {
    #[inline(always)]
    unsafe fn read<V: Vector>(p: *const f32, step: usize, mask: u32) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_lanes(p, step, mask) }
    }
}

impl Read for Expanded {
    #[inline(always)]
    unsafe fn read<V: Vector>(p: *const f32, _step: usize, mask: u32) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::expand(p, mask) }
    }
}

#[inline(always)]
unsafe fn weighted<V: Vector, R: Read, const WIDE: bool>(
    plane: *const f32,
    w: *const f32,
    parts: &[Part],
    per: usize,
    step: usize,
    mut acc: V,
) -> V {
    for (tap, parts) in parts.chunks_exact(per).enumerate() {
        // SAFETY: the caller's promises.
        unsafe {
            let w = if WIDE { V::load(w.add(tap * V::LANES)) } else { V::splat(*w.add(tap)) };
            for part in parts {
                acc = w.mul_add(
                    R::read::<V>(plane.wrapping_offset(part.offset), step, part.mask),
                    acc,
                );
            }
        }
    }
    acc
}
