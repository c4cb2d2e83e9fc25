//! AVX-512: 16 lanes with masks.

use super::{Kernel, Vector};
use std::arch::x86_64::*;

/// Does the work with AVX-512.
#[target_feature(enable = "avx512f,avx2,fma,bmi2")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the sets are switched on here; the rest is the caller's promise.
    unsafe { kernel.run::<Lanes>() }
}

#[derive(Clone, Copy)]
pub(crate) struct Lanes(__m512);

// SAFETY of the bodies: the trait's promises on the instruction set and on pointers; masked loads and stores do not touch other lanes.
impl Vector for Lanes {
    const LANES: usize = 16;
    const ROWS: usize = 14;

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(v) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { _mm512_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn load_lanes(p: *const f32, stride: usize, mask: u32) -> Self {
        unsafe {
            match stride {
                1 => Self(_mm512_maskz_loadu_ps(mask as u16, p)),
                2 => {
                    // Two loads of neighbours and one shuffle; a gather of 16 takes several times as long.
                    let spread = _pdep_u32(mask, 0x5555_5555);
                    let low = _mm512_maskz_loadu_ps(spread as u16, p);
                    let high = _mm512_maskz_loadu_ps((spread >> 16) as u16, p.wrapping_add(16));
                    let evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                    Self(_mm512_permutex2var_ps(low, evens, high))
                }
                _ => {
                    let count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                    let places = _mm512_mullo_epi32(count, _mm512_set1_epi32(stride as i32));
                    Self(_mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), mask as u16, places, p))
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn expand(p: *const f32, mask: u32) -> Self {
        Self(unsafe { _mm512_maskz_expandloadu_ps(mask as u16, p) })
    }

    #[inline(always)]
    unsafe fn store_lanes(self, p: *mut f32, mask: u32) {
        unsafe { _mm512_mask_storeu_ps(p, mask as u16, self.0) }
    }

    #[inline(always)]
    unsafe fn interleave(self, other: Self) -> (Self, Self) {
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (Self(_mm512_permutex2var_ps(self.0, low, other.0)), Self(_mm512_permutex2var_ps(self.0, high, other.0)))
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        unsafe {
            // Squares of 4x4 within the four quarters of each register first, then the quarters change places.
            let mut quads = [[_mm512_setzero_ps(); 4]; 4];
            for (block, quad) in quads.iter_mut().enumerate() {
                let from = from.add(4 * block * from_step);
                let (a, b) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(from_step)));
                let (c, d) = (_mm512_loadu_ps(from.add(2 * from_step)), _mm512_loadu_ps(from.add(3 * from_step)));
                let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
                let (ab_high, cd_high) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
                *quad = [
                    _mm512_shuffle_ps::<0x44>(ab, cd),
                    _mm512_shuffle_ps::<0xee>(ab, cd),
                    _mm512_shuffle_ps::<0x44>(ab_high, cd_high),
                    _mm512_shuffle_ps::<0xee>(ab_high, cd_high),
                ];
            }
            let [first, second, third, fourth] = quads;
            for (j, (((a, b), c), d)) in first.into_iter().zip(second).zip(third).zip(fourth).enumerate() {
                let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                let columns = [
                    _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even),
                    _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd),
                    _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even),
                    _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd),
                ];
                for (quarter, column) in columns.into_iter().enumerate() {
                    _mm512_storeu_ps(to.add((4 * quarter + j) * to_step), column);
                }
            }
        }
    }
}
