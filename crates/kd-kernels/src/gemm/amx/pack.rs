//! Rounds rows of A, or columns of B, to bfloat16 and lays them out as the tiles are loaded.
//!
//! A tile holds 16 lanes by 32 values of k in 16 lines of 64 bytes. A's are lane-major: a line is
//! 32 values of k of one row. B's are pair-major: a line is the values at two neighbouring k of 16
//! columns.

use std::arch::x86_64::*;

/// Values of k in a tile.
pub(super) const DEPTH: usize = 32;
/// Lanes of a tile.
const LANES: usize = 16;

/// What a line of a tile holds.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// One lane.
    LaneMajor,
    /// One pair of neighbouring k.
    PairMajor,
}

/// A strip of lanes: lane l at k is `from[l * lane_stride + k * k_stride]`.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub from: *const f32,
    pub lane_stride: usize,
    pub k_stride: usize,
    /// 1 to 32.
    pub lanes: usize,
    /// 1 to [`DEPTH`].
    pub k: usize,
}

/// Writes two tiles, lanes 0 to 15 and 16 to 31. Lanes and values of k that do not exist are 0.
///
/// # Safety
/// The processor has AVX-512F, BW and BF16; the strip is readable, and `to` is aligned to a line
/// and writable for two tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn pack(strip: Strip, order: Order, to: *mut __m512i) {
    for half in 0..2 {
        let first = half * LANES;
        let part = Strip {
            from: strip.from.wrapping_add(first * strip.lane_stride),
            lanes: strip.lanes.saturating_sub(first).min(LANES),
            ..strip
        };
        // SAFETY: the part lies inside the strip.
        unsafe {
            let lines = if part.k_stride == 1 {
                in_order(lanes(part), Order::LaneMajor, order)
            } else if part.lane_stride == 1 {
                in_order(pairs(part), Order::PairMajor, order)
            } else {
                in_order(gathered(part), Order::LaneMajor, order)
            };
            for (i, line) in lines.into_iter().enumerate() {
                _mm512_store_si512(to.add(first + i).cast(), line);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
fn in_order(lines: [__m512i; LANES], have: Order, want: Order) -> [__m512i; LANES] {
    if have == want { lines } else { transposed(lines) }
}

/// Values of k are contiguous: a line for each lane.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn lanes(part: Strip) -> [__m512i; LANES] {
    let (low, high) = (mask(part.k), mask(part.k.saturating_sub(LANES)));
    let mut lines = [_mm512_setzero_si512(); LANES];
    for (l, line) in lines.iter_mut().enumerate().take(part.lanes) {
        // SAFETY: masked values are not read.
        unsafe {
            let from = part.from.add(l * part.lane_stride);
            let (a, b) = (
                _mm512_maskz_loadu_ps(low, from),
                _mm512_maskz_loadu_ps(high, from.wrapping_add(LANES)),
            );
            *line = bits(_mm512_cvtne2ps_pbh(b, a));
        }
    }
    lines
}

/// Lanes are contiguous: a line for each pair of k.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pairs(part: Strip) -> [__m512i; LANES] {
    let seen = mask(part.lanes);
    let mut lines = [_mm512_setzero_si512(); LANES];
    // SAFETY: masked values are not read, and k stays below `part.k`.
    unsafe {
        // The words of the low half and of the high half of a register by turns.
        let by_turns = _mm512_loadu_si512(BY_TURNS.as_ptr().cast());
        let row = |k: usize| {
            if k < part.k {
                _mm512_maskz_loadu_ps(seen, part.from.wrapping_add(k * part.k_stride))
            } else {
                _mm512_setzero_ps()
            }
        };
        for (pair, line) in lines.iter_mut().enumerate().take(part.k.div_ceil(2)) {
            let words = bits(_mm512_cvtne2ps_pbh(row(2 * pair + 1), row(2 * pair)));
            *line = _mm512_permutexvar_epi16(by_turns, words);
        }
    }
    lines
}

/// Any strides: a line for each lane, one value at a time.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn gathered(part: Strip) -> [__m512i; LANES] {
    let mut values = [0f32; LANES * DEPTH];
    for l in 0..part.lanes {
        for k in 0..part.k {
            // SAFETY: the value exists.
            values[l * DEPTH + k] =
                unsafe { *part.from.add(l * part.lane_stride + k * part.k_stride) };
        }
    }
    // SAFETY: the values are a strip.
    unsafe { lanes(Strip { from: values.as_ptr(), lane_stride: DEPTH, k_stride: 1, ..part }) }
}

static BY_TURNS: [u16; 32] = {
    let mut words = [0; 32];
    let mut i = 0;
    while i < 16 {
        words[2 * i] = i as u16;
        words[2 * i + 1] = 16 + i as u16;
        i += 1;
    }
    words
};

/// The first `n` of 16 lanes, or all of them.
fn mask(n: usize) -> __mmask16 {
    if n >= LANES { !0 } else { (1 << n) - 1 }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn bits(x: __m512bh) -> __m512i {
    // SAFETY: both are 64 bytes without invalid patterns.
    unsafe { std::mem::transmute(x) }
}

/// The transpose of 16 by 16 double words.
#[target_feature(enable = "avx512f")]
fn transposed(x: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut y = [_mm512_setzero_si512(); LANES];
    // Pairs of double words of rows i and i + 1, then fours of rows i to i + 3.
    for i in (0..LANES).step_by(2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    let mut z = [_mm512_setzero_si512(); LANES];
    for i in (0..LANES).step_by(4) {
        z[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        z[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        z[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        z[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    // z[4 b + c] holds, in its quarter q, rows 4 b to 4 b + 3 of column 4 q + c: quarters are
    // transposed over b and q.
    for c in 0..4 {
        let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(z[c], z[4 + c]);
        let odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(z[c], z[4 + c]);
        let even_below = _mm512_shuffle_i32x4::<0b10_00_10_00>(z[8 + c], z[12 + c]);
        let odd_below = _mm512_shuffle_i32x4::<0b11_01_11_01>(z[8 + c], z[12 + c]);
        y[c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(even, even_below);
        y[8 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(even, even_below);
        y[4 + c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(odd, odd_below);
        y[12 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(odd, odd_below);
    }
    y
}
