//! Plain loops, for processors without the other sets.

use super::sixteen::{Half, Pair};
use super::{Lanes, Vector, promised};

/// Eight lanes, which compilers map to two registers of four on most machines.
#[derive(Clone, Copy)]
pub(super) struct Eight([f32; 8]);

impl Eight {
    /// f of each lane's number.
    #[inline(always)]
    fn of(f: impl Fn(usize) -> f32) -> Self {
        let mut lanes = [0f32; 8];
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane = f(l);
        }
        Self(lanes)
    }
}

impl Lanes for Eight {
    const LANES: usize = 8;

    promised! {
        fn splat(v: f32) -> Self { Self([v; 8]) }
        fn load(p: *const f32) -> Self { Self(p.cast::<[f32; 8]>().read()) }
        fn load_over(self, p: *const f32, mask: u32) -> Self {
            let mut lanes = self;
            for (l, lane) in lanes.0.iter_mut().enumerate() {
                if mask >> l & 1 == 1 {
                    *lane = *p.wrapping_add(l);
                }
            }
            lanes
        }
        fn store(self, p: *mut f32) { p.cast::<[f32; 8]>().write(self.0) }
        fn store_lanes(self, p: *mut f32, mask: u32) {
            for (l, lane) in self.0.iter().enumerate() {
                if mask >> l & 1 == 1 {
                    *p.wrapping_add(l) = *lane;
                }
            }
        }
        fn stream(self, p: *mut f32) { self.store(p) }
        fn fence() {}
        fn prefetch(_p: *const f32) {}
        fn add(self, other: Self) -> Self { Self::of(|l| self.0[l] + other.0[l]) }
        fn sub(self, other: Self) -> Self { Self::of(|l| self.0[l] - other.0[l]) }
        fn mul(self, other: Self) -> Self { Self::of(|l| self.0[l] * other.0[l]) }
        // Not `f32::mul_add`, which is a call where there is no such instruction.
        fn mul_add(self, a: Self, b: Self) -> Self { Self::of(|l| self.0[l] * a.0[l] + b.0[l]) }
        fn rectify(self) -> Self { Self::of(|l| if self.0[l] <= 0.0 { 0.0 } else { self.0[l] }) }
    }
}

impl Vector for Eight {
    const ROWS: usize = 3;
    type Sixteen = Pair<Self>;

    promised! {
        fn load_lanes(p: *const f32, stride: usize, mask: u32) -> Self {
            let mut lanes = [0f32; 8];
            for (l, lane) in lanes.iter_mut().enumerate() {
                if mask >> l & 1 == 1 {
                    *lane = *p.wrapping_add(l * stride);
                }
            }
            Self(lanes)
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
            Self(lanes)
        }
        fn interleave(self, other: Self) -> (Self, Self) {
            let both = |first: usize| Self::of(|l| if l % 2 == 0 { self.0[first + l / 2] } else { other.0[first + l / 2] });
            (both(0), both(4))
        }
        fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
            for i in 0..8 {
                for j in 0..8 {
                    *to.add(j * to_step + i) = *from.add(i * from_step + j);
                }
            }
        }
    }
}

impl Half for Eight {
    const BLOCK: (usize, usize) = (2, 1);
    type Shift = [i32; 8];

    promised! {
        fn shift(from: *const i32) -> [i32; 8] { from.cast::<[i32; 8]>().read() }
        fn permute(low: Self, high: Self, by: [i32; 8]) -> Self {
            Self::of(|l| match by[l] {
                from @ 0..8 => low.0[from as usize],
                from @ 8..16 => high.0[from as usize - 8],
                _ => 0.0,
            })
        }
        fn transpose4(v: [Self; 4]) -> [Self; 4] { [0, 1, 2, 3].map(|i| Self::of(|l| v[l % 4].0[l - l % 4 + i])) }
        fn split(a: Self, b: Self) -> [Self; 2] {
            [0, 1].map(|i| Self::of(|l| if l % 4 < 2 { a.0[l - l % 4 + 2 * (l % 2) + i] } else { b.0[l - l % 4 + 2 * (l % 2) + i] }))
        }
        fn join(even: Self, odd: Self) -> [Self; 2] {
            let value = |l: usize, i: usize| if l.is_multiple_of(2) { even.0[l - l % 4 + 2 * i + l % 4 / 2] } else { odd.0[l - l % 4 + 2 * i + l % 4 / 2] };
            [0, 1].map(|i| Self::of(|l| value(l, i)))
        }
        fn halves(a: Self, b: Self) -> [Self; 2] {
            [0, 4].map(|first| Self::of(|l| if l < 4 { a.0[first + l] } else { b.0[first + l - 4] }))
        }
    }
}
