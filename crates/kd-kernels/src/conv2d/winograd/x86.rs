//! Sixteen lanes as one AVX-512 register, or as two of AVX2.

use super::vector::{Permutation, Vector, Work};
use std::arch::x86_64::*;

/// # Safety
/// The processor has AVX-512F, which has what AVX2 and FMA do.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) unsafe fn run_avx512(work: impl Work) {
    // SAFETY: the caller's promise.
    unsafe { work.run::<Zmm>() }
}

/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_avx2(work: impl Work) {
    // SAFETY: the caller's promise.
    unsafe { work.run::<Ymm>() }
}

#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512);

impl Vector for Zmm {
    const ROWS: usize = 8;
    const COLS: usize = 3;
    type Shift = (__m512i, __mmask16);

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the trait's contract, here and below.
        Self(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        unsafe { _mm512_stream_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_lanes(self, from: *const f32, mask: u16) -> Self {
        Self(unsafe { _mm512_mask_loadu_ps(self.0, mask, from) })
    }

    #[inline(always)]
    unsafe fn store_lanes(self, to: *mut f32, mask: u16) {
        unsafe { _mm512_mask_storeu_ps(to, mask, self.0) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Self(unsafe { _mm512_add_ps(self.0, b.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        Self(unsafe { _mm512_sub_ps(self.0, b.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        Self(unsafe { _mm512_mul_ps(self.0, b.0) })
    }

    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    unsafe fn shift(by: &Permutation) -> Self::Shift {
        (unsafe { _mm512_loadu_si512(by.from.as_ptr().cast()) }, by.mask())
    }

    #[inline(always)]
    unsafe fn permute(self, (from, mask): Self::Shift) -> Self {
        Self(unsafe { _mm512_maskz_permutexvar_ps(mask, from, self.0) })
    }

    #[inline(always)]
    unsafe fn transpose4(v: [Self; 4]) -> [Self; 4] {
        unsafe {
            let low01 = _mm512_castps_pd(_mm512_unpacklo_ps(v[0].0, v[1].0));
            let high01 = _mm512_castps_pd(_mm512_unpackhi_ps(v[0].0, v[1].0));
            let low23 = _mm512_castps_pd(_mm512_unpacklo_ps(v[2].0, v[3].0));
            let high23 = _mm512_castps_pd(_mm512_unpackhi_ps(v[2].0, v[3].0));
            [
                Self(_mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23))),
                Self(_mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23))),
                Self(_mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23))),
                Self(_mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn split(a: Self, b: Self) -> [Self; 2] {
        unsafe { [Self(_mm512_shuffle_ps::<0x88>(a.0, b.0)), Self(_mm512_shuffle_ps::<0xDD>(a.0, b.0))] }
    }

    #[inline(always)]
    unsafe fn join(even: Self, odd: Self) -> [Self; 2] {
        unsafe { [Self(_mm512_unpacklo_ps(even.0, odd.0)), Self(_mm512_unpackhi_ps(even.0, odd.0))] }
    }

    #[inline(always)]
    unsafe fn transpose_groups(v: [Self; 4]) -> [Self; 4] {
        unsafe {
            let even01 = _mm512_shuffle_f32x4::<0x88>(v[0].0, v[1].0);
            let odd01 = _mm512_shuffle_f32x4::<0xDD>(v[0].0, v[1].0);
            let even23 = _mm512_shuffle_f32x4::<0x88>(v[2].0, v[3].0);
            let odd23 = _mm512_shuffle_f32x4::<0xDD>(v[2].0, v[3].0);
            [
                Self(_mm512_shuffle_f32x4::<0x88>(even01, even23)),
                Self(_mm512_shuffle_f32x4::<0x88>(odd01, odd23)),
                Self(_mm512_shuffle_f32x4::<0xDD>(even01, even23)),
                Self(_mm512_shuffle_f32x4::<0xDD>(odd01, odd23)),
            ]
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Ymm(__m256, __m256);

/// Eight lanes of 32 bits, all of them set where the bit of the mask is.
#[inline(always)]
unsafe fn lanes(mask: u16) -> __m256i {
    // SAFETY: the trait's contract.
    unsafe {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(i32::from(mask)), bits), bits)
    }
}

impl Vector for Ymm {
    const ROWS: usize = 4;
    const COLS: usize = 1;
    /// Lanes within a half, lanes that come from the upper half, and lanes that are not 0; for each half of the result.
    type Shift = [(__m256i, __m256, __m256); 2];

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the trait's contract, here and below.
        unsafe { Self(_mm256_setzero_ps(), _mm256_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1)
        }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        unsafe {
            _mm256_stream_ps(to, self.0);
            _mm256_stream_ps(to.add(8), self.1)
        }
    }

    #[inline(always)]
    unsafe fn load_lanes(self, from: *const f32, mask: u16) -> Self {
        unsafe {
            if mask == !0 {
                return Self::load(from);
            }
            let (low, high) = (lanes(mask & 0xFF), lanes(mask >> 8));
            let a = _mm256_maskload_ps(from, low);
            let b = _mm256_maskload_ps(from.wrapping_add(8), high);
            Self(_mm256_blendv_ps(self.0, a, _mm256_castsi256_ps(low)), _mm256_blendv_ps(self.1, b, _mm256_castsi256_ps(high)))
        }
    }

    #[inline(always)]
    unsafe fn store_lanes(self, to: *mut f32, mask: u16) {
        unsafe {
            if mask == !0 {
                return self.store(to);
            }
            _mm256_maskstore_ps(to, lanes(mask & 0xFF), self.0);
            _mm256_maskstore_ps(to.wrapping_add(8), lanes(mask >> 8), self.1)
        }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        unsafe { Self(_mm256_sub_ps(self.0, b.0), _mm256_sub_ps(self.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        unsafe { Self(_mm256_mul_ps(self.0, b.0), _mm256_mul_ps(self.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
    }

    #[inline(always)]
    unsafe fn shift(by: &Permutation) -> Self::Shift {
        unsafe {
            let from = [_mm256_loadu_si256(by.from.as_ptr().cast()), _mm256_loadu_si256(by.from.as_ptr().add(8).cast())];
            let upper = [_mm256_cmpgt_epi32(from[0], _mm256_set1_epi32(7)), _mm256_cmpgt_epi32(from[1], _mm256_set1_epi32(7))];
            let some = [_mm256_cmpgt_epi32(from[0], _mm256_set1_epi32(-1)), _mm256_cmpgt_epi32(from[1], _mm256_set1_epi32(-1))];
            [
                (from[0], _mm256_castsi256_ps(upper[0]), _mm256_castsi256_ps(some[0])),
                (from[1], _mm256_castsi256_ps(upper[1]), _mm256_castsi256_ps(some[1])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn permute(self, by: Self::Shift) -> Self {
        unsafe {
            // The instruction looks at the lowest three bits of an index.
            let [(from, upper, some), (from1, upper1, some1)] = by;
            let a = _mm256_blendv_ps(_mm256_permutevar8x32_ps(self.0, from), _mm256_permutevar8x32_ps(self.1, from), upper);
            let b = _mm256_blendv_ps(_mm256_permutevar8x32_ps(self.0, from1), _mm256_permutevar8x32_ps(self.1, from1), upper1);
            Self(_mm256_and_ps(a, some), _mm256_and_ps(b, some1))
        }
    }

    #[inline(always)]
    unsafe fn transpose4(v: [Self; 4]) -> [Self; 4] {
        #[inline(always)]
        unsafe fn half(a: __m256, b: __m256, c: __m256, d: __m256) -> [__m256; 4] {
            unsafe {
                let low01 = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
                let high01 = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
                let low23 = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
                let high23 = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
                [
                    _mm256_castpd_ps(_mm256_unpacklo_pd(low01, low23)),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(low01, low23)),
                    _mm256_castpd_ps(_mm256_unpacklo_pd(high01, high23)),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(high01, high23)),
                ]
            }
        }
        unsafe {
            let a = half(v[0].0, v[1].0, v[2].0, v[3].0);
            let b = half(v[0].1, v[1].1, v[2].1, v[3].1);
            [Self(a[0], b[0]), Self(a[1], b[1]), Self(a[2], b[2]), Self(a[3], b[3])]
        }
    }

    #[inline(always)]
    unsafe fn split(a: Self, b: Self) -> [Self; 2] {
        unsafe {
            [
                Self(_mm256_shuffle_ps::<0x88>(a.0, b.0), _mm256_shuffle_ps::<0x88>(a.1, b.1)),
                Self(_mm256_shuffle_ps::<0xDD>(a.0, b.0), _mm256_shuffle_ps::<0xDD>(a.1, b.1)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn join(even: Self, odd: Self) -> [Self; 2] {
        unsafe {
            [
                Self(_mm256_unpacklo_ps(even.0, odd.0), _mm256_unpacklo_ps(even.1, odd.1)),
                Self(_mm256_unpackhi_ps(even.0, odd.0), _mm256_unpackhi_ps(even.1, odd.1)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn transpose_groups(v: [Self; 4]) -> [Self; 4] {
        unsafe {
            // Groups 0 and 1 are the halves of `.0`, groups 2 and 3 those of `.1`.
            let [a, b, c, d] = v;
            [
                Self(_mm256_permute2f128_ps::<0x20>(a.0, b.0), _mm256_permute2f128_ps::<0x20>(c.0, d.0)),
                Self(_mm256_permute2f128_ps::<0x31>(a.0, b.0), _mm256_permute2f128_ps::<0x31>(c.0, d.0)),
                Self(_mm256_permute2f128_ps::<0x20>(a.1, b.1), _mm256_permute2f128_ps::<0x20>(c.1, d.1)),
                Self(_mm256_permute2f128_ps::<0x31>(a.1, b.1), _mm256_permute2f128_ps::<0x31>(c.1, d.1)),
            ]
        }
    }
}
