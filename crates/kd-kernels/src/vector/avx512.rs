//! AVX-512: 16 lanes with masks.

use super::{Kernel, Lanes, Permutation, Sixteen, Vector, promised};
use std::arch::x86_64::*;

/// Does the work with AVX-512.
///
/// # Safety
/// The processor has `Level::Avx512`, and what the kernel says of its fields holds.
#[target_feature(enable = "avx512f,avx2,fma,bmi2")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the sets are switched on here; the rest is the caller's promise.
    unsafe { kernel.run::<Zmm>() }
}

#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512);

impl Lanes for Zmm {
    const LANES: usize = 16;

    promised! {
        fn splat(v: f32) -> Self { Self(_mm512_set1_ps(v)) }
        fn load(p: *const f32) -> Self { Self(_mm512_loadu_ps(p)) }
        fn load_over(self, p: *const f32, mask: u32) -> Self { Self(_mm512_mask_loadu_ps(self.0, mask as u16, p)) }
        fn store(self, p: *mut f32) { _mm512_storeu_ps(p, self.0) }
        fn store_lanes(self, p: *mut f32, mask: u32) { _mm512_mask_storeu_ps(p, mask as u16, self.0) }
        fn stream(self, p: *mut f32) { _mm512_stream_ps(p, self.0) }
        fn fence() { _mm_sfence() }
        fn prefetch(p: *const f32) { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        fn add(self, other: Self) -> Self { Self(_mm512_add_ps(self.0, other.0)) }
        fn sub(self, other: Self) -> Self { Self(_mm512_sub_ps(self.0, other.0)) }
        fn mul(self, other: Self) -> Self { Self(_mm512_mul_ps(self.0, other.0)) }
        fn mul_add(self, a: Self, b: Self) -> Self { Self(_mm512_fmadd_ps(self.0, a.0, b.0)) }
        // The second operand is the result where one of the two is NaN.
        fn rectify(self) -> Self { Self(_mm512_max_ps(_mm512_setzero_ps(), self.0)) }
    }
}

impl Vector for Zmm {
    const ROWS: usize = 14;
    type Sixteen = Self;

    promised! {
        fn load_lanes(p: *const f32, stride: usize, mask: u32) -> Self {
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
        fn expand(p: *const f32, mask: u32) -> Self { Self(_mm512_maskz_expandloadu_ps(mask as u16, p)) }
        fn interleave(self, other: Self) -> (Self, Self) {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (Self(_mm512_permutex2var_ps(self.0, low, other.0)), Self(_mm512_permutex2var_ps(self.0, high, other.0)))
        }
        fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
            // Squares of 4x4 within the four quarters of each register first, then the quarters change places.
            let mut quads = [[Self::zero(); 4]; 4];
            for (block, quad) in quads.iter_mut().enumerate() {
                let from = from.add(4 * block * from_step);
                let (a, b) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(from_step)));
                let (c, d) = (_mm512_loadu_ps(from.add(2 * from_step)), _mm512_loadu_ps(from.add(3 * from_step)));
                *quad = Self::transpose4([a, b, c, d].map(Self));
            }
            let [first, second, third, fourth] = quads;
            for j in 0..4 {
                for (quarter, column) in Self::transpose_groups([first[j], second[j], third[j], fourth[j]]).into_iter().enumerate() {
                    column.store(to.add((4 * quarter + j) * to_step));
                }
            }
        }
    }
}

impl Sixteen for Zmm {
    const BLOCK: (usize, usize) = (8, 3);
    type Shift = (__m512i, __mmask16);

    promised! {
        fn shift(by: &Permutation) -> Self::Shift {
            let from = _mm512_loadu_si512(by.from.as_ptr().cast());
            (from, _mm512_cmpge_epi32_mask(from, _mm512_setzero_si512()))
        }
        fn permute(self, by: Self::Shift) -> Self { Self(_mm512_maskz_permutexvar_ps(by.1, by.0, self.0)) }
        fn transpose4(v: [Self; 4]) -> [Self; 4] {
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
        fn split(a: Self, b: Self) -> [Self; 2] {
            [Self(_mm512_shuffle_ps::<0x88>(a.0, b.0)), Self(_mm512_shuffle_ps::<0xDD>(a.0, b.0))]
        }
        fn join(even: Self, odd: Self) -> [Self; 2] {
            [Self(_mm512_unpacklo_ps(even.0, odd.0)), Self(_mm512_unpackhi_ps(even.0, odd.0))]
        }
        fn transpose_groups(v: [Self; 4]) -> [Self; 4] {
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
