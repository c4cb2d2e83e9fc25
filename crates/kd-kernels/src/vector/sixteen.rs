//! Sixteen lanes, whatever the processor's registers are: one of sixteen, or a pair of eight.

use super::{Lanes, Vector, promised};

/// The order of lanes that a shift needs: lane i of the result is lane `from[i]`, or 0 where that
/// is negative.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Permutation {
    pub from: [i32; 16],
}

/// Sixteen lanes, with what moves values between them.
///
/// # Safety
/// As [`Lanes`].
pub(crate) trait Sixteen: Lanes {
    /// Rows and columns (of sixteen) of a block of a product that its registers hold.
    const BLOCK: (usize, usize);
    /// A permutation as the processor wants it.
    type Shift: Copy;

    unsafe fn shift(by: &Permutation) -> Self::Shift;
    unsafe fn permute(self, by: Self::Shift) -> Self;
    /// Transposes the 4×4 values that each group of four lanes holds in four vectors; its own
    /// inverse.
    unsafe fn transpose4(v: [Self; 4]) -> [Self; 4];
    /// Within each group of four lanes, the even and the odd values: (a0 a2 b0 b2, a1 a3 b1 b3).
    unsafe fn split(a: Self, b: Self) -> [Self; 2];
    /// The inverse of `split`.
    unsafe fn join(even: Self, odd: Self) -> [Self; 2];
    /// Transposes the groups of four lanes of four vectors, as if a group were one value.
    unsafe fn transpose_groups(v: [Self; 4]) -> [Self; 4];

    /// Transposes 16×16 values.
    #[inline(always)]
    unsafe fn transpose16(v: [Self; 16]) -> [Self; 16] {
        // SAFETY: the caller's promise.
        unsafe {
            let a = Self::transpose4([v[0], v[1], v[2], v[3]]);
            let b = Self::transpose4([v[4], v[5], v[6], v[7]]);
            let c = Self::transpose4([v[8], v[9], v[10], v[11]]);
            let d = Self::transpose4([v[12], v[13], v[14], v[15]]);
            let [a, b, c, d] = [
                Self::transpose_groups([a[0], b[0], c[0], d[0]]),
                Self::transpose_groups([a[1], b[1], c[1], d[1]]),
                Self::transpose_groups([a[2], b[2], c[2], d[2]]),
                Self::transpose_groups([a[3], b[3], c[3], d[3]]),
            ];
            [
                a[0], b[0], c[0], d[0], a[1], b[1], c[1], d[1], a[2], b[2], c[2], d[2], a[3], b[3],
                c[3], d[3],
            ]
        }
    }
}

/// A register of eight lanes as a half of sixteen.
///
/// # Safety
/// As [`Lanes`].
pub(crate) trait Half: Vector {
    /// As [`Sixteen::BLOCK`].
    const BLOCK: (usize, usize);
    /// The part of a permutation that makes one half of the result.
    type Shift: Copy;

    /// Of the eight places at `from`.
    unsafe fn shift(from: *const i32) -> Self::Shift;
    /// Eight of the sixteen lanes in `low` and `high`.
    unsafe fn permute(low: Self, high: Self, by: Self::Shift) -> Self;
    /// As [`Sixteen::transpose4`].
    unsafe fn transpose4(v: [Self; 4]) -> [Self; 4];
    /// As [`Sixteen::split`].
    unsafe fn split(a: Self, b: Self) -> [Self; 2];
    /// As [`Sixteen::join`].
    unsafe fn join(even: Self, odd: Self) -> [Self; 2];
    /// The lower four lanes of both, and the upper four.
    unsafe fn halves(a: Self, b: Self) -> [Self; 2];
}

/// Lanes 0 to 7, and 8 to 15.
#[derive(Clone, Copy)]
pub(crate) struct Pair<H>(H, H);

impl<H: Half> Lanes for Pair<H> {
    const LANES: usize = 16;

    promised! {
        fn splat(v: f32) -> Self { Self(H::splat(v), H::splat(v)) }
        fn load(p: *const f32) -> Self { Self(H::load(p), H::load(p.add(8))) }
        fn load_over(self, p: *const f32, mask: u32) -> Self {
            if mask == Self::FULL {
                return Self::load(p);
            }
            Self(self.0.load_over(p, mask & 0xFF), self.1.load_over(p.wrapping_add(8), mask >> 8))
        }
        fn store(self, p: *mut f32) {
            self.0.store(p);
            self.1.store(p.add(8))
        }
        fn store_lanes(self, p: *mut f32, mask: u32) {
            if mask == Self::FULL {
                return self.store(p);
            }
            self.0.store_lanes(p, mask & 0xFF);
            self.1.store_lanes(p.wrapping_add(8), mask >> 8)
        }
        fn stream(self, p: *mut f32) {
            self.0.stream(p);
            self.1.stream(p.add(8))
        }
        fn fence() { H::fence() }
        fn prefetch(p: *const f32) { H::prefetch(p) }
        fn add(self, other: Self) -> Self { Self(self.0.add(other.0), self.1.add(other.1)) }
        fn sub(self, other: Self) -> Self { Self(self.0.sub(other.0), self.1.sub(other.1)) }
        fn mul(self, other: Self) -> Self { Self(self.0.mul(other.0), self.1.mul(other.1)) }
        fn mul_add(self, a: Self, b: Self) -> Self { Self(self.0.mul_add(a.0, b.0), self.1.mul_add(a.1, b.1)) }
        fn rectify(self) -> Self { Self(self.0.rectify(), self.1.rectify()) }
    }
}

impl<H: Half> Sixteen for Pair<H> {
    const BLOCK: (usize, usize) = H::BLOCK;
    type Shift = [H::Shift; 2];

    promised! {
        fn shift(by: &Permutation) -> Self::Shift { [H::shift(by.from.as_ptr()), H::shift(by.from.as_ptr().add(8))] }
        fn permute(self, by: Self::Shift) -> Self {
            let [low, high] = by;
            Self(H::permute(self.0, self.1, low), H::permute(self.0, self.1, high))
        }
        fn transpose4(v: [Self; 4]) -> [Self; 4] {
            let [a, b, c, d] = H::transpose4([v[0].0, v[1].0, v[2].0, v[3].0]);
            let [e, f, g, h] = H::transpose4([v[0].1, v[1].1, v[2].1, v[3].1]);
            [Self(a, e), Self(b, f), Self(c, g), Self(d, h)]
        }
        fn split(a: Self, b: Self) -> [Self; 2] {
            let ([even, odd], [even_high, odd_high]) = (H::split(a.0, b.0), H::split(a.1, b.1));
            [Self(even, even_high), Self(odd, odd_high)]
        }
        fn join(even: Self, odd: Self) -> [Self; 2] {
            let ([a, b], [a_high, b_high]) = (H::join(even.0, odd.0), H::join(even.1, odd.1));
            [Self(a, a_high), Self(b, b_high)]
        }
        fn transpose_groups(v: [Self; 4]) -> [Self; 4] {
            let [a, b, c, d] = v;
            let ([first, second], [third, fourth]) = (H::halves(a.0, b.0), H::halves(a.1, b.1));
            let ([first_high, second_high], [third_high, fourth_high]) = (H::halves(c.0, d.0), H::halves(c.1, d.1));
            [Self(first, first_high), Self(second, second_high), Self(third, third_high), Self(fourth, fourth_high)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Isa, Kernel};

    /// Sixteen lanes that count from `first` on.
    fn counted(first: usize) -> [f32; 16] {
        std::array::from_fn(|l| (first + l) as f32)
    }

    struct Moves;

    impl Kernel for Moves {
        type Output = Vec<[f32; 16]>;

        #[inline(always)]
        unsafe fn run<V: Vector>(self) -> Vec<[f32; 16]> {
            let by = Permutation { from: [3, -1, 15, 8, 7, 0, 0, 1, 9, 10, -1, 11, 12, 4, 2, 14] };
            // SAFETY: the caller's promise; arrays have sixteen values.
            unsafe {
                let [a, b, c, d] =
                    [0, 16, 32, 48].map(|first| V::Sixteen::load(counted(first).as_ptr()));
                let mut all = vec![
                    a.permute(V::Sixteen::shift(&by)),
                    a.load_over(counted(100).as_ptr(), 0b1000_0001_0000_0110),
                ];
                all.extend(V::Sixteen::split(a, b));
                all.extend(V::Sixteen::join(a, b));
                all.extend(V::Sixteen::transpose4([a, b, c, d]));
                all.extend(V::Sixteen::transpose_groups([a, b, c, d]));
                let stored = |v: V::Sixteen| {
                    let mut lanes = [0f32; 16];
                    v.store(lanes.as_mut_ptr());
                    lanes
                };
                let mut stored: Vec<_> = all.into_iter().map(stored).collect();
                let mut some = counted(200);
                a.store_lanes(some.as_mut_ptr(), 0b0110_0000_1111_0001);
                stored.push(some);
                stored
            }
        }
    }

    #[test]
    fn lanes_move_to_the_same_places_on_every_instruction_set() {
        // SAFETY: the kernel asks nothing of its caller.
        let results: Vec<_> =
            Isa::available().into_iter().map(|isa| (isa, unsafe { isa.run(Moves) })).collect();
        let portable = &results.last().unwrap().1;
        assert_eq!(
            portable[0],
            [3., 0., 15., 8., 7., 0., 0., 1., 9., 10., 0., 11., 12., 4., 2., 14.]
        );
        assert_eq!(
            portable[1],
            [0., 101., 102., 3., 4., 5., 6., 7., 108., 9., 10., 11., 12., 13., 14., 115.]
        );
        assert_eq!(
            portable[2],
            [0., 2., 16., 18., 4., 6., 20., 22., 8., 10., 24., 26., 12., 14., 28., 30.]
        );
        assert_eq!(
            portable[4],
            [0., 16., 1., 17., 4., 20., 5., 21., 8., 24., 9., 25., 12., 28., 13., 29.]
        );
        assert_eq!(
            portable[6],
            [0., 16., 32., 48., 4., 20., 36., 52., 8., 24., 40., 56., 12., 28., 44., 60.]
        );
        assert_eq!(
            portable[10],
            [0., 1., 2., 3., 16., 17., 18., 19., 32., 33., 34., 35., 48., 49., 50., 51.]
        );
        assert_eq!(portable[14][..6], [0., 201., 202., 203., 4., 5.]);
        for (isa, result) in &results {
            assert!(result == portable, "{isa:?}: {result:?}");
        }
    }
}
