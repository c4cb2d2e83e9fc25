//! Plain loops, for processors without the other sets.

use super::Vector;

/// Eight lanes, which compilers map to two registers of four on most machines.
#[derive(Clone, Copy)]
pub(crate) struct Lanes([f32; 8]);

// SAFETY of the bodies: the trait's promises on pointers.
impl Vector for Lanes {
    const LANES: usize = 8;
    const ROWS: usize = 3;

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self([v; 8])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        let mut sum = self.0;
        for (sum, (a, b)) in sum.iter_mut().zip(a.0.iter().zip(&b.0)) {
            *sum += a * b;
        }
        Self(sum)
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let mut sum = self.0;
        for (sum, other) in sum.iter_mut().zip(&other.0) {
            *sum += other;
        }
        Self(sum)
    }

    #[inline(always)]
    unsafe fn load_lanes(p: *const f32, stride: usize, mask: u32) -> Self {
        let mut lanes = [0f32; 8];
        for (l, lane) in lanes.iter_mut().enumerate() {
            if mask >> l & 1 == 1 {
                *lane = unsafe { *p.wrapping_add(l * stride) };
            }
        }
        Self(lanes)
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
        Self(lanes)
    }

    #[inline(always)]
    unsafe fn store_lanes(self, p: *mut f32, mask: u32) {
        for (l, lane) in self.0.iter().enumerate() {
            if mask >> l & 1 == 1 {
                unsafe { *p.wrapping_add(l) = *lane };
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(self, other: Self) -> (Self, Self) {
        let (mut low, mut high) = ([0f32; 8], [0f32; 8]);
        for l in 0..4 {
            (low[2 * l], low[2 * l + 1]) = (self.0[l], other.0[l]);
            (high[2 * l], high[2 * l + 1]) = (self.0[4 + l], other.0[4 + l]);
        }
        (Self(low), Self(high))
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        for i in 0..8 {
            for j in 0..8 {
                unsafe { *to.add(j * to_step + i) = *from.add(i * from_step + j) };
            }
        }
    }
}
