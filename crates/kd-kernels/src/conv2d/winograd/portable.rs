//! Sixteen lanes as an array, for processors without AVX2: the compiler uses what vector registers there are.

use super::vector::{Permutation, Vector};

#[derive(Clone, Copy)]
pub(super) struct Lanes([f32; 16]);

impl Lanes {
    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        for i in 0..16 {
            out.0[i] = f(self.0[i], b.0[i]);
        }
        out
    }
}

impl Vector for Lanes {
    const ROWS: usize = 2;
    const COLS: usize = 1;
    type Shift = Permutation;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 16])
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 16])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f32; 16]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 16]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { self.store(to) }
    }

    #[inline(always)]
    unsafe fn load_lanes(mut self, from: *const f32, mask: u16) -> Self {
        if mask == !0 {
            // SAFETY: the caller's promise.
            return unsafe { Self::load(from) };
        }
        for i in 0..16 {
            if mask >> i & 1 == 1 {
                // SAFETY: a lane of the mask.
                self.0[i] = unsafe { *from.wrapping_add(i) };
            }
        }
        self
    }

    #[inline(always)]
    unsafe fn store_lanes(self, to: *mut f32, mask: u16) {
        if mask == !0 {
            // SAFETY: the caller's promise.
            return unsafe { self.store(to) };
        }
        for i in 0..16 {
            if mask >> i & 1 == 1 {
                // SAFETY: a lane of the mask.
                unsafe { *to.wrapping_add(i) = self.0[i] };
            }
        }
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.zip(b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self.zip(b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self.zip(b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        // Not `mul_add`, which is a call where there is no such instruction.
        self.zip(b, |a, b| a * b).zip(c, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn shift(by: &Permutation) -> Permutation {
        *by
    }

    #[inline(always)]
    unsafe fn permute(self, by: Permutation) -> Self {
        Self(by.from.map(|from| if from < 0 { 0.0 } else { self.0[from as usize & 15] }))
    }

    #[inline(always)]
    unsafe fn transpose4(v: [Self; 4]) -> [Self; 4] {
        let mut out = v;
        for (i, out) in out.iter_mut().enumerate() {
            for lane in 0..16 {
                out.0[lane] = v[lane % 4].0[lane - lane % 4 + i];
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn split(a: Self, b: Self) -> [Self; 2] {
        let mut out = [a, b];
        for (i, out) in out.iter_mut().enumerate() {
            for s in (0..16).step_by(4) {
                out.0[s..s + 4].copy_from_slice(&[a.0[s + i], a.0[s + i + 2], b.0[s + i], b.0[s + i + 2]]);
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn join(even: Self, odd: Self) -> [Self; 2] {
        let mut out = [even, odd];
        for (i, out) in out.iter_mut().enumerate() {
            for s in (0..16).step_by(4) {
                let at = s + 2 * i;
                out.0[s..s + 4].copy_from_slice(&[even.0[at], odd.0[at], even.0[at + 1], odd.0[at + 1]]);
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn transpose_groups(v: [Self; 4]) -> [Self; 4] {
        let mut out = v;
        for (s, out) in out.iter_mut().enumerate() {
            for (g, v) in v.iter().enumerate() {
                out.0[4 * g..4 * g + 4].copy_from_slice(&v.0[4 * s..4 * s + 4]);
            }
        }
        out
    }
}
