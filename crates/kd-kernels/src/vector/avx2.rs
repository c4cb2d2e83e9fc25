//! AVX2 with fused multiply-add: 8 lanes.

use super::sixteen::{Half, Pair};
use super::{Kernel, Lanes, Vector, promised};
use std::arch::x86_64::*;

/// Does the work with AVX2.
///
/// # Safety
/// The processor has `Level::Avx2`, and what the kernel says of its fields holds.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the sets are switched on here; the rest is the caller's promise.
    unsafe { kernel.run::<Ymm>() }
}

#[derive(Clone, Copy)]
pub(super) struct Ymm(__m256);

impl Ymm {
    promised! {
        /// The mask's bits as eight integers, all of whose bits are the mask's.
        fn whole(mask: u32) -> __m256i {
            let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask as i32), bits), bits)
        }
    }
}

impl Lanes for Ymm {
    const LANES: usize = 8;

    promised! {
        fn splat(v: f32) -> Self { Self(_mm256_set1_ps(v)) }
        fn load(p: *const f32) -> Self { Self(_mm256_loadu_ps(p)) }
        fn load_over(self, p: *const f32, mask: u32) -> Self {
            let mask = Self::whole(mask);
            Self(_mm256_blendv_ps(self.0, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask)))
        }
        fn store(self, p: *mut f32) { _mm256_storeu_ps(p, self.0) }
        fn store_lanes(self, p: *mut f32, mask: u32) { _mm256_maskstore_ps(p, Self::whole(mask), self.0) }
        fn stream(self, p: *mut f32) { _mm256_stream_ps(p, self.0) }
        fn fence() { _mm_sfence() }
        fn prefetch(p: *const f32) { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        fn add(self, other: Self) -> Self { Self(_mm256_add_ps(self.0, other.0)) }
        fn sub(self, other: Self) -> Self { Self(_mm256_sub_ps(self.0, other.0)) }
        fn mul(self, other: Self) -> Self { Self(_mm256_mul_ps(self.0, other.0)) }
        fn mul_add(self, a: Self, b: Self) -> Self { Self(_mm256_fmadd_ps(self.0, a.0, b.0)) }
        // The second operand is the result where one of the two is NaN.
        fn rectify(self) -> Self { Self(_mm256_max_ps(_mm256_setzero_ps(), self.0)) }
    }
}

impl Vector for Ymm {
    const ROWS: usize = 6;
    type Sixteen = Pair<Self>;

    promised! {
        fn load_lanes(p: *const f32, stride: usize, mask: u32) -> Self {
            if stride == 1 {
                return Self(_mm256_maskload_ps(p, Self::whole(mask)));
            }
            let places = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(stride as i32));
            Self(_mm256_mask_i32gather_ps::<4>(_mm256_setzero_ps(), p, places, _mm256_castsi256_ps(Self::whole(mask))))
        }
        fn expand(p: *const f32, mask: u32) -> Self {
            let mut lanes = [0f32; 8];
            let mut p = p;
            for (l, lane) in lanes.iter_mut().enumerate() {
                if mask >> l & 1 == 1 {
                    *lane = *p;
                    p = p.wrapping_add(1);
                }
            }
            Self::load(lanes.as_ptr())
        }
        fn interleave(self, other: Self) -> (Self, Self) {
            let [low, high] = Self::halves(Self(_mm256_unpacklo_ps(self.0, other.0)), Self(_mm256_unpackhi_ps(self.0, other.0)));
            (low, high)
        }
        fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
            for half in 0..2 {
                let mut pairs = [_mm256_setzero_ps(); 4];
                for (i, pair) in pairs.iter_mut().enumerate() {
                    // Row i and row i + 4 share a register, so that the exchange of halves is done by the loads.
                    let from = from.add(i * from_step + 4 * half);
                    let low = _mm256_castps128_ps256(_mm_loadu_ps(from));
                    *pair = _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from.add(4 * from_step)));
                }
                for (j, column) in Self::transpose4(pairs.map(Self)).into_iter().enumerate() {
                    column.store(to.add((4 * half + j) * to_step));
                }
            }
        }
    }
}

impl Half for Ymm {
    const BLOCK: (usize, usize) = (4, 1);
    /// Lanes within a half, lanes that come from the upper half, and lanes that are not 0.
    type Shift = (__m256i, __m256, __m256);

    promised! {
        fn shift(from: *const i32) -> Self::Shift {
            let from = _mm256_loadu_si256(from.cast());
            let upper = _mm256_cmpgt_epi32(from, _mm256_set1_epi32(7));
            let some = _mm256_cmpgt_epi32(from, _mm256_set1_epi32(-1));
            (from, _mm256_castsi256_ps(upper), _mm256_castsi256_ps(some))
        }
        fn permute(low: Self, high: Self, by: Self::Shift) -> Self {
            // The instruction looks at the lowest three bits of an index.
            let (from, upper, some) = by;
            let all = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low.0, from), _mm256_permutevar8x32_ps(high.0, from), upper);
            Self(_mm256_and_ps(all, some))
        }
        fn transpose4(v: [Self; 4]) -> [Self; 4] {
            let low01 = _mm256_castps_pd(_mm256_unpacklo_ps(v[0].0, v[1].0));
            let high01 = _mm256_castps_pd(_mm256_unpackhi_ps(v[0].0, v[1].0));
            let low23 = _mm256_castps_pd(_mm256_unpacklo_ps(v[2].0, v[3].0));
            let high23 = _mm256_castps_pd(_mm256_unpackhi_ps(v[2].0, v[3].0));
            [
                Self(_mm256_castpd_ps(_mm256_unpacklo_pd(low01, low23))),
                Self(_mm256_castpd_ps(_mm256_unpackhi_pd(low01, low23))),
                Self(_mm256_castpd_ps(_mm256_unpacklo_pd(high01, high23))),
                Self(_mm256_castpd_ps(_mm256_unpackhi_pd(high01, high23))),
            ]
        }
        fn split(a: Self, b: Self) -> [Self; 2] {
            [Self(_mm256_shuffle_ps::<0x88>(a.0, b.0)), Self(_mm256_shuffle_ps::<0xDD>(a.0, b.0))]
        }
        fn join(even: Self, odd: Self) -> [Self; 2] {
            [Self(_mm256_unpacklo_ps(even.0, odd.0)), Self(_mm256_unpackhi_ps(even.0, odd.0))]
        }
        fn halves(a: Self, b: Self) -> [Self; 2] {
            [Self(_mm256_permute2f128_ps::<0x20>(a.0, b.0)), Self(_mm256_permute2f128_ps::<0x31>(a.0, b.0))]
        }
    }
}
