//! AVX2 with fused multiply-add: 8 lanes.

use super::{Kernel, Vector};
use std::arch::x86_64::*;

/// Does the work with AVX2.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the sets are switched on here; the rest is the caller's promise.
    unsafe { kernel.run::<Lanes>() }
}

#[derive(Clone, Copy)]
pub(crate) struct Lanes(__m256);

/// The mask's bits as the signs of eight integers.
#[inline(always)]
unsafe fn signs(mask: u32) -> __m256i {
    // SAFETY: as the trait's functions.
    unsafe {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask as i32), bits), bits)
    }
}

// SAFETY of the bodies: the trait's promises on the instruction set and on pointers; masked loads and stores do not touch other lanes.
impl Vector for Lanes {
    const LANES: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self(unsafe { _mm256_set1_ps(v) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(unsafe { _mm256_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { _mm256_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn load_lanes(p: *const f32, stride: usize, mask: u32) -> Self {
        unsafe {
            if stride == 1 {
                return Self(_mm256_maskload_ps(p, signs(mask)));
            }
            let places = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(stride as i32));
            Self(_mm256_mask_i32gather_ps::<4>(_mm256_setzero_ps(), p, places, _mm256_castsi256_ps(signs(mask))))
        }
    }

    #[inline(always)]
    unsafe fn expand(mut p: *const f32, mask: u32) -> Self {
        let mut lanes = [0f32; 8];
        for (l, lane) in lanes.iter_mut().enumerate() {
            if mask >> l & 1 == 1 {
                *lane = unsafe { *p };
                p = p.wrapping_add(1);
            }
        }
        unsafe { Self::load(lanes.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store_lanes(self, p: *mut f32, mask: u32) {
        unsafe { _mm256_maskstore_ps(p, signs(mask), self.0) }
    }

    #[inline(always)]
    unsafe fn interleave(self, other: Self) -> (Self, Self) {
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(self.0, other.0), _mm256_unpackhi_ps(self.0, other.0));
            (Self(_mm256_permute2f128_ps::<0x20>(low, high)), Self(_mm256_permute2f128_ps::<0x31>(low, high)))
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        unsafe {
            for half in 0..2 {
                let mut pairs = [_mm256_setzero_ps(); 4];
                for (i, pair) in pairs.iter_mut().enumerate() {
                    // Row i and row i + 4 share a register, so that the exchange of halves is done by the loads.
                    let from = from.add(i * from_step + 4 * half);
                    let low = _mm256_castps128_ps256(_mm_loadu_ps(from));
                    *pair = _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from.add(4 * from_step)));
                }
                let [a, b, c, d] = pairs;
                let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
                let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
                let columns = [
                    _mm256_shuffle_ps::<0x44>(ab, cd),
                    _mm256_shuffle_ps::<0xee>(ab, cd),
                    _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                    _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
                ];
                for (j, column) in columns.into_iter().enumerate() {
                    _mm256_storeu_ps(to.add((4 * half + j) * to_step), column);
                }
            }
        }
    }
}
