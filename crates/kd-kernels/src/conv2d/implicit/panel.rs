//! The two halves of the product: copying the pixels under the kernel into a panel, and multiplying
//! weights by it.

use crate::conv2d::places::{Part, Places};
use crate::vector::{Isa, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// Numbers of packed weights from which several threads share the packing.
const PACK_SHARED: usize = 64 * 1024;

/// Runs `$body` with the constant `$R` equal to `$rows`, which is 1 to V::ROWS.
macro_rules! with_rows {
    ($V:ty, $rows:expr, $R:ident => $body:expr) => {
        $crate::conv2d::implicit::panel::with_rows!(@ $V, $rows, $R => $body; 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    (@ $V:ty, $rows:expr, $R:ident => $body:expr; $($n:literal)*) => {
        match $rows {
            $($n if $n <= <$V>::ROWS => {
                const $R: usize = $n;
                $body
            })*
            rows => unreachable!("a block of {rows} rows: `cut` makes 1 to {}", <$V>::ROWS),
        }
    };
}
pub(super) use with_rows;

/// The rows of block `block` when `rows` are cut as evenly as they can be into blocks of at most
/// `most`.
#[inline(always)]
pub(super) fn cut(rows: usize, most: usize, block: usize) -> Range<usize> {
    let blocks = rows.div_ceil(most).max(1);
    block * rows / blocks..(block + 1) * rows / blocks
}

/// Weights in the order in which the product reads them: by group, by block of rows, by term of the
/// sum, by row of the block.
pub(super) struct Weights {
    pub rows: usize,
    pub depth: usize,
    /// Most rows of a block.
    most: usize,
    data: Vec<f32>,
}

impl Weights {
    /// Packs `groups` matrices of `rows` by `depth`: row `r` of a group's term lies `r · row_step`
    /// behind `at(group, term)` in `w`.
    pub(super) fn pack(
        isa: Isa,
        w: &[f32],
        [groups, rows, depth]: [usize; 3],
        row_step: usize,
        at: impl Fn(usize, usize) -> usize + Sync,
    ) -> Self {
        let most = isa.rows();
        let mut data = vec![0f32; groups * rows * depth];
        let mut blocks = Vec::new();
        let mut rest = data.as_mut_slice();
        for group in 0..groups {
            for block in 0..rows.div_ceil(most) {
                let rows = cut(rows, most, block);
                let (to, after) = rest.split_at_mut(rows.len() * depth);
                rest = after;
                blocks.push((group, rows, to));
            }
        }
        let fill = |(group, rows, to): (usize, Range<usize>, &mut [f32])| {
            for (k, to) in to.chunks_exact_mut(rows.len().max(1)).enumerate() {
                let first = at(group, k);
                for (to, row) in to.iter_mut().zip(rows.clone()) {
                    *to = w[first + row * row_step];
                }
            }
        };
        if w.len() < PACK_SHARED {
            blocks.into_iter().for_each(fill)
        } else {
            blocks.into_par_iter().for_each(fill)
        }
        Self { rows, depth, most, data }
    }

    /// The number of blocks of rows of one group.
    #[inline(always)]
    pub(super) fn blocks(&self) -> usize {
        self.rows.div_ceil(self.most)
    }

    /// One block: its rows, and its weights by term and row.
    #[inline(always)]
    pub(super) fn block(&self, group: usize, block: usize) -> (Range<usize>, &[f32]) {
        let rows = cut(self.rows, self.most, block);
        let data =
            &self.data[(group * self.rows + rows.start) * self.depth..][..rows.len() * self.depth];
        (rows, data)
    }
}

/// Where the registers of one row of a panel lie.
#[derive(Clone, Copy)]
pub(super) struct PanelRow {
    /// From one even register to the next.
    pub even: usize,
    /// From an even register to the odd one after it.
    pub odd: usize,
}

impl PanelRow {
    /// Registers one after another.
    #[inline(always)]
    pub(super) fn row<V: Vector>() -> Self {
        Self { even: 2 * V::LANES, odd: V::LANES }
    }

    #[inline(always)]
    fn of(self, register: usize) -> usize {
        register / 2 * self.even + register % 2 * self.odd
    }
}

/// Channels that one walk over the taps copies: what keeps their rows in the first-level cache
/// meanwhile.
const CHANNELS: usize = 8;

/// Copies the pixels under each tap of some channels: row channel · taps + tap, register `v` of the
/// panel, goes to `row · row_step + panel_row.of(v)`. Registers of the panel that the places do not
/// have are 0.
///
/// # Safety
/// `x` is readable at all places of all channels, `to` is writable at all rows and registers; V's
/// set is there.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // Two operands with two steps each.
pub(super) unsafe fn pack<V: Vector>(
    x: *const f32,
    channels: usize,
    channel_step: usize,
    places: &Places,
    taps: usize,
    registers: Range<usize>,
    to: *mut f32,
    row_step: usize,
    panel_row: PanelRow,
) {
    let mut first = 0;
    while first < channels {
        let block = first..(first + CHANNELS).min(channels);
        for tap in 0..taps {
            for (v, register) in registers.clone().enumerate() {
                let parts: &[Part] =
                    if register < places.vectors { places.parts(tap, register) } else { &[] };
                for c in block.clone() {
                    // SAFETY: the caller's promises.
                    unsafe {
                        let value = gather::<V>(x.add(c * channel_step), places.step, parts);
                        value.store(to.add((c * taps + tap) * row_step + panel_row.of(v)));
                    }
                }
            }
        }
        first = block.end;
    }
}

/// One register from its parts.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
pub(super) unsafe fn gather<V: Vector>(x: *const f32, step: usize, parts: &[Part]) -> V {
    // SAFETY: the caller's promises. Parts have no lane in common, so that their sum is their
    // union.
    unsafe {
        let [first, more @ ..] = parts else { return V::splat(0.0) };
        let mut value = part::<V>(x, step, first);
        for more in more {
            value = value.add(part::<V>(x, step, more));
        }
        value
    }
}

/// The lanes of one part.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn part<V: Vector>(x: *const f32, step: usize, part: &Part) -> V {
    let x = x.wrapping_offset(part.offset);
    // SAFETY: the caller's promises.
    unsafe {
        if step == 1 && part.mask == V::FULL {
            V::load(x)
        } else {
            V::load_lanes(x, step, part.mask)
        }
    }
}

/// Writes one register to its parts.
///
/// # Safety
/// `y` is writable at the parts; V's set is there.
#[inline(always)]
pub(super) unsafe fn scatter<V: Vector>(value: V, y: *mut f32, parts: &[Part]) {
    for part in parts {
        let y = y.wrapping_offset(part.offset);
        // SAFETY: the caller's promises.
        unsafe {
            if part.mask == V::FULL { value.store(y) } else { value.store_lanes(y, part.mask) }
        }
    }
}

/// R rows of weights by two registers of columns: acc\[r\]\[v\] = init\[r\] + Σ w\[k\]\[r\] ·
/// panel\[k\]\[v\].
///
/// # Safety
/// `w` is readable for `depth` times R, `panel` for `depth` times two registers, `init` for R or
/// null; V's set is there.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, const R: usize>(
    depth: usize,
    w: *const f32,
    panel: *const f32,
    init: *const f32,
) -> [[V; 2]; R] {
    // SAFETY: the caller's promises.
    unsafe {
        let mut acc = [[V::splat(0.0); 2]; R];
        if !init.is_null() {
            for (r, acc) in acc.iter_mut().enumerate() {
                *acc = [V::splat(*init.add(r)); 2];
            }
        }
        let (mut w, mut panel) = (w, panel);
        for _ in 0..depth {
            let columns = [V::load(panel), V::load(panel.add(V::LANES))];
            for (r, acc) in acc.iter_mut().enumerate() {
                let weight = V::splat(*w.add(r));
                acc[0] = weight.mul_add(columns[0], acc[0]);
                acc[1] = weight.mul_add(columns[1], acc[1]);
            }
            w = w.add(R);
            panel = panel.add(2 * V::LANES);
        }
        acc
    }
}
