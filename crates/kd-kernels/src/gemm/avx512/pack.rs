//! Copies rows of A, or columns of B, to the order in which the tile reads them: for each k, the
//! values of up to 32 lanes beside one another.

use super::kernel::LANES;
use std::arch::x86_64::*;

/// A strip of lanes: lane l at k is `from[l * lane_stride + k * k_stride]`.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub from: *const f32,
    pub lane_stride: usize,
    pub k_stride: usize,
    /// 1 to 32.
    pub lanes: usize,
    pub k: usize,
}

/// Writes the lanes, rounded up to whole registers of 16, to consecutive places of `to` for each k.
/// Lanes beyond `strip.lanes` get 0 or a copy of a real lane; nothing that is computed from them is
/// ever stored.
///
/// # Safety
/// The processor has AVX-512F, the strip is readable, and `to` is writable for `k` groups of lanes.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn pack(strip: Strip, to: *mut f32) {
    let step = strip.lanes.next_multiple_of(LANES);
    if strip.k == 0 {
        // There may be no memory behind the strip to point into.
        return;
    }
    // SAFETY: the caller's promise; each part below stays within its lanes of the strip and of
    // `to`.
    unsafe {
        if strip.lane_stride == 1 {
            return copy(strip, to, step);
        }
        for first in (0..strip.lanes).step_by(LANES) {
            let from = strip.from.add(first * strip.lane_stride);
            let part = Strip { from, lanes: (strip.lanes - first).min(LANES), ..strip };
            if part.k_stride == 1 {
                transpose(part, to.add(first), step)
            } else {
                scalar(part, 0, to.add(first), step)
            }
        }
    }
}

/// Lanes are contiguous: all lanes of one k after another, so that a row of the matrix is visited
/// once.
#[target_feature(enable = "avx512f")]
unsafe fn copy(strip: Strip, to: *mut f32, to_step: usize) {
    let whole = strip.lanes - strip.lanes % LANES;
    let mask: __mmask16 = (1 << (strip.lanes % LANES)) - 1;
    for k in 0..strip.k {
        // SAFETY: masked lanes are not read; the rest is the caller's promise.
        unsafe {
            let (from, to) = (strip.from.add(k * strip.k_stride), to.add(k * to_step));
            for l in (0..whole).step_by(LANES) {
                _mm512_storeu_ps(to.add(l), _mm512_loadu_ps(from.add(l)));
            }
            if mask != 0 {
                _mm512_storeu_ps(to.add(whole), _mm512_maskz_loadu_ps(mask, from.add(whole)));
            }
        }
    }
}

/// k is contiguous: up to 16 lanes by 4 k at a time.
///
/// A register is filled with 4 values of k from each of the lanes r, r+4, r+8, r+12, so that a
/// transpose of 4x4 within each quarter of the register, two shuffles per value, is all that is
/// left to do. Filling it from memory by quarters costs no shuffle, and so this is half the
/// shuffles of a transpose of 16x16 that starts from whole rows.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(strip: Strip, to: *mut f32, to_step: usize) {
    let lane = |l: usize| strip.from.wrapping_add(l.min(strip.lanes - 1) * strip.lane_stride);
    let whole = strip.k - strip.k % 4;
    // SAFETY: `lane` stays inside the strip, and k stays below `strip.k`.
    unsafe {
        let mut k = 0;
        while k < whole {
            let mut v = [_mm512_setzero_ps(); 4];
            for (r, x) in v.iter_mut().enumerate() {
                let mut y = _mm512_castps128_ps512(_mm_loadu_ps(lane(r).add(k)));
                y = _mm512_insertf32x4::<1>(y, _mm_loadu_ps(lane(r + 4).add(k)));
                y = _mm512_insertf32x4::<2>(y, _mm_loadu_ps(lane(r + 8).add(k)));
                *x = _mm512_insertf32x4::<3>(y, _mm_loadu_ps(lane(r + 12).add(k)));
            }
            let low01 = _mm512_castps_pd(_mm512_unpacklo_ps(v[0], v[1]));
            let high01 = _mm512_castps_pd(_mm512_unpackhi_ps(v[0], v[1]));
            let low23 = _mm512_castps_pd(_mm512_unpacklo_ps(v[2], v[3]));
            let high23 = _mm512_castps_pd(_mm512_unpackhi_ps(v[2], v[3]));
            let at = to.add(k * to_step);
            _mm512_storeu_ps(at, _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23)));
            _mm512_storeu_ps(at.add(to_step), _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23)));
            _mm512_storeu_ps(
                at.add(2 * to_step),
                _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23)),
            );
            _mm512_storeu_ps(
                at.add(3 * to_step),
                _mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23)),
            );
            k += 4;
        }
        scalar(strip, whole, to, to_step);
    }
}

/// Any strides, from `first` on, one value at a time.
unsafe fn scalar(strip: Strip, first: usize, to: *mut f32, to_step: usize) {
    for k in first..strip.k {
        for l in 0..LANES {
            // SAFETY: the lane is clamped to the strip.
            unsafe {
                let lane = l.min(strip.lanes - 1);
                *to.add(k * to_step + l) =
                    *strip.from.add(lane * strip.lane_stride + k * strip.k_stride);
            }
        }
    }
}
