//! Sixteen lanes of `f32`, whatever the processor's registers are: a unit of tiles is sixteen of them for every instruction set, so that
//! transforms and the order of tiles are the same. Kernels that take registers as they are use `conv2d/vector`.

use crate::conv2d::vector::Isa;

/// The order of lanes that a shift between neighbouring tiles needs: lane i of the result is lane `from[i]`, or 0 where that is negative.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Permutation {
    pub from: [i32; 16],
}

impl Permutation {
    /// A mask of the lanes that are not 0.
    #[inline(always)]
    pub(super) fn mask(&self) -> u16 {
        self.from.iter().enumerate().fold(0, |mask, (i, &from)| mask | (u16::from(from >= 0) << i))
    }
}

/// Sixteen lanes.
///
/// # Safety
/// Every method needs a processor with the instructions of the implementation ([`run`] sees to that), and pointers that are valid for the
/// lanes they name. Pointers need no alignment, except for `stream`.
pub(super) trait Vector: Copy {
    /// Rows and columns (of 16) of a block of a product that its registers hold.
    const ROWS: usize;
    const COLS: usize;
    /// A permutation as the processor wants it.
    type Shift: Copy;

    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Stores past the caches; `to` is a multiple of 64 bytes.
    unsafe fn stream(self, to: *mut f32);
    /// These lanes, with those of the mask read from memory. Lanes outside the mask are not read.
    unsafe fn load_lanes(self, from: *const f32, mask: u16) -> Self;
    /// Writes the lanes of the mask only.
    unsafe fn store_lanes(self, to: *mut f32, mask: u16);
    /// Brings a line into the first-level cache; the pointer may point anywhere.
    unsafe fn prefetch(_from: *const f32) {}
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    /// self·b + c.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    unsafe fn shift(by: &Permutation) -> Self::Shift;
    unsafe fn permute(self, by: Self::Shift) -> Self;
    /// Transposes the 4×4 values that each group of four lanes holds in four vectors; its own inverse.
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
            [a[0], b[0], c[0], d[0], a[1], b[1], c[1], d[1], a[2], b[2], c[2], d[2], a[3], b[3], c[3], d[3]]
        }
    }
}

/// Work that is compiled for each instruction set.
pub(super) trait Work {
    /// # Safety
    /// The processor has the instructions of `V`. Implementations are `#[inline(always)]`, and so is all that they call with `V`, so that it is
    /// compiled with them; a closure is not, and each operation in it is a call.
    unsafe fn run<V: Vector>(self);
}

/// Runs the work, compiled for these instructions.
///
/// # Safety
/// The processor has them: the set is one of [`Isa::available`].
pub(super) unsafe fn run(isa: Isa, work: impl Work) {
    match isa {
        // SAFETY: plain Rust, and the caller's promise.
        Isa::Portable => unsafe { work.run::<super::portable::Lanes>() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise.
        Isa::Avx2 => unsafe { super::x86::run_avx2(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise.
        Isa::Avx512 => unsafe { super::x86::run_avx512(work) },
    }
}
