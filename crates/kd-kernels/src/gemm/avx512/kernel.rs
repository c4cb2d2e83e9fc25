//! The innermost tile: up to 14 rows by 32 columns of C, held in registers while k runs.

use std::arch::x86_64::*;

/// Most rows of a tile. 14 rows of two registers are 28 accumulators; two more hold B's columns and
/// one A's broadcast, of 32.
pub(super) const MAX_ROWS: usize = 14;
/// Columns of a tile of two registers.
pub(super) const COLS: usize = 32;
/// Elements of one register, and the distance in a packed panel of A from one k to the next.
pub(super) const LANES: usize = 16;
/// The k loop is unrolled by this much; one row of the next panel is prefetched per round.
pub(super) const UNROLL: usize = 4;

/// Steps of k by which A and B are prefetched from the second-level into the first-level cache.
/// Worth 1 to 3 %, as measured on 100x1200x1200; cutting k so that a panel of B stays in the
/// first-level cache was up to 13 % slower.
const SOON: usize = 12;

/// What happens to a tile when k has run through.
#[derive(Clone, Copy)]
pub(super) struct TileEpilogue {
    /// Go on from the sums in C, which an earlier block of k left there, and not from 0.
    pub accumulate: bool,
    /// Bias of the first column, or null.
    pub bias: *const f32,
    /// Negative values become 0.
    pub relu: bool,
}

/// Memory to bring into the second-level cache while the tile is computed: two lines at `from`,
/// then `step` elements on, once every [`UNROLL`] steps of k. Only ever prefetched, so it may point
/// anywhere.
#[derive(Clone, Copy)]
pub(super) struct Prefetch {
    pub from: *const f32,
    pub step: usize,
}

/// Operands of a tile.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    /// Length of the sum.
    pub k: usize,
    /// Packed rows of A, [`LANES`] apart per k.
    pub a: *const f32,
    /// Columns of B, `b_step` apart per k.
    pub b: *const f32,
    pub b_step: usize,
    /// Where to leave a packed copy of the columns, or null.
    pub copy: *mut f32,
    /// First element of the tile in C, and C's row stride.
    pub c: *mut f32,
    pub ldc: usize,
    /// Valid lanes of the last register of columns.
    pub mask: __mmask16,
}

/// Computes one tile of `rows` (1 to [`MAX_ROWS`]) by one or two registers.
///
/// # Safety
/// The processor has AVX-512F. `a` is readable for `k` groups of [`LANES`], `b` for `k` whole
/// groups of `16 * registers`, `c` is writable for the tile's rows and unmasked columns, and so is
/// the bias readable for these columns. `copy` is null or writable for `k` groups of `16 *
/// registers`.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tile(
    rows: usize,
    registers: usize,
    ops: Operands,
    finish: TileEpilogue,
    prefetch: Prefetch,
) {
    macro_rules! pick {
        ($($mr:literal)*) => {
            match (rows, registers, ops.copy.is_null()) {
                $(($mr, 1, _) => tile_of::<$mr, 1, false>(ops, finish, prefetch),
                  ($mr, _, true) => tile_of::<$mr, 2, false>(ops, finish, prefetch),
                  ($mr, _, false) => tile_of::<$mr, 2, true>(ops, finish, prefetch),)*
                _ => unreachable!("a tile of {rows} rows: there are 1 to {MAX_ROWS}"),
            }
        };
    }
    // SAFETY: the caller's promise.
    unsafe { pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

#[target_feature(enable = "avx512f")]
unsafe fn tile_of<const MR: usize, const NV: usize, const COPY: bool>(
    ops: Operands,
    finish: TileEpilogue,
    prefetch: Prefetch,
) {
    let Operands { k, mut a, mut b, b_step, mut copy, c, ldc, mask } = ops;
    let mask_of = |v: usize| if v + 1 == NV { mask } else { !0 };
    let mut acc = [[_mm512_setzero_ps(); NV]; MR];
    // SAFETY: all addresses below lie in the ranges that the caller promised.
    unsafe {
        if finish.accumulate {
            for (i, row) in acc.iter_mut().enumerate() {
                for (v, x) in row.iter_mut().enumerate() {
                    *x = _mm512_maskz_loadu_ps(mask_of(v), c.add(i * ldc + v * LANES));
                }
            }
        }
        macro_rules! step {
            () => {
                let mut cols = [_mm512_setzero_ps(); NV];
                for (v, x) in cols.iter_mut().enumerate() {
                    *x = _mm512_loadu_ps(b.add(v * LANES));
                    if COPY {
                        _mm512_storeu_ps(copy.add(v * LANES), *x);
                    }
                }
                if COPY {
                    copy = copy.wrapping_add(NV * LANES);
                }
                let soon = b.wrapping_add(SOON * b_step);
                _mm_prefetch::<_MM_HINT_T0>(soon.cast());
                _mm_prefetch::<_MM_HINT_T0>(soon.wrapping_add(LANES).cast());
                _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(SOON * LANES).cast());
                for i in 0..MR {
                    let x = _mm512_set1_ps(*a.add(i));
                    for v in 0..NV {
                        acc[i][v] = _mm512_fmadd_ps(x, cols[v], acc[i][v]);
                    }
                }
                a = a.wrapping_add(LANES);
                b = b.wrapping_add(b_step);
            };
        }
        let mut ahead = prefetch.from;
        for _ in 0..k / UNROLL {
            _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
            _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(LANES).cast());
            ahead = ahead.wrapping_add(prefetch.step);
            step!();
            step!();
            step!();
            step!();
        }
        for _ in 0..k % UNROLL {
            step!();
        }
        if !finish.bias.is_null() {
            for v in 0..NV {
                let bias = _mm512_maskz_loadu_ps(mask_of(v), finish.bias.add(v * LANES));
                for row in acc.iter_mut() {
                    row[v] = _mm512_add_ps(row[v], bias);
                }
            }
        }
        if finish.relu {
            for row in acc.iter_mut() {
                for x in row.iter_mut() {
                    // The order of the operands matters: the second one is returned when it is NaN.
                    *x = _mm512_max_ps(_mm512_setzero_ps(), *x);
                }
            }
        }
        for (i, row) in acc.iter().enumerate() {
            for (v, x) in row.iter().enumerate() {
                _mm512_mask_storeu_ps(c.add(i * ldc + v * LANES), mask_of(v), *x);
            }
        }
    }
}
