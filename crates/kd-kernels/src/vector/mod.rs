//! Registers of `f32` under one name for three instruction sets, so that a kernel is written once.
//!
//! A kernel is a [`Kernel`] whose `run` is generic over [`Vector`], one register of the set, and
//! `#[inline(always)]`; [`Isa::run`] compiles it inside a function that has the instruction set
//! switched on. A kernel whose data come in sixteens uses [`Vector::Sixteen`], one register or two.
//! Sums use fused multiply-add where the set has one, so results differ between sets in the last
//! bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod sixteen;

use crate::level::{Level, level};
pub(crate) use sixteen::{Permutation, Sixteen};

/// Some lanes of `f32`. Lane `l` of a mask is its bit `l`.
///
/// # Safety
/// Every function may be called only where the processor has the instruction set, as inside
/// [`Kernel::run`]; pointers are valid for the lanes that the mask names, and for all lanes where
/// there is none. They may point outside an allocation where the mask is 0. They need no alignment,
/// except that of [`Lanes::stream`].
pub(crate) trait Lanes: Copy {
    /// How many.
    const LANES: usize;
    /// The mask of all lanes.
    const FULL: u32 = ((1u64 << Self::LANES) - 1) as u32;

    /// All lanes `v`.
    unsafe fn splat(v: f32) -> Self;
    /// All lanes 0.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::splat(0.0) }
    }
    /// The lanes at `p`.
    unsafe fn load(p: *const f32) -> Self;
    /// These lanes, with those of the mask read from memory: lane l from `p[l]`.
    unsafe fn load_over(self, p: *const f32, mask: u32) -> Self;
    /// Writes all lanes.
    unsafe fn store(self, p: *mut f32);
    /// Writes lane l to `p[l]` where the mask has it.
    unsafe fn store_lanes(self, p: *mut f32, mask: u32);
    /// Writes all lanes past the caches; `p` is a multiple of 64 bytes. Other threads may read them
    /// only after a [`Lanes::fence`] of this one.
    unsafe fn stream(self, p: *mut f32);
    /// Puts what this thread has written by [`Lanes::stream`] before what it writes from now on, so
    /// that whoever sees the latter sees the former.
    unsafe fn fence();
    /// Brings the line at `p` into the first-level cache; it may point anywhere.
    unsafe fn prefetch(p: *const f32);
    /// self + other.
    unsafe fn add(self, other: Self) -> Self;
    /// self − other.
    unsafe fn sub(self, other: Self) -> Self;
    /// self · other.
    unsafe fn mul(self, other: Self) -> Self;
    /// self · a + b.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    /// max(self, 0), where NaN stays.
    unsafe fn rectify(self) -> Self;
}

/// One register.
///
/// # Safety
/// As [`Lanes`].
pub(crate) trait Vector: Lanes {
    /// Most rows of a tile two registers wide that leaves room for its operands.
    const ROWS: usize;
    /// Sixteen lanes of this set.
    type Sixteen: Sixteen;

    /// Lane l is `p[l · stride]` where the mask has it, and 0 elsewhere.
    unsafe fn load_lanes(p: *const f32, stride: usize, mask: u32) -> Self;
    /// The lanes that the mask has take the values at `p` one after another; the others are 0.
    unsafe fn expand(p: *const f32, mask: u32) -> Self;
    /// The lanes of self and other by turns, as two registers.
    unsafe fn interleave(self, other: Self) -> (Self, Self);
    /// Transposes a square of LANES rows: `to[j · to_step + i] = from[i · from_step + j]`.
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize);
}

/// Widest stride of [`Vector::load_lanes`]: instructions that gather count bytes in 32 bits.
pub(crate) const WIDEST_STRIDE: usize = 1 << 24;

/// Defines inlined functions of the traits above, whose bodies rest on nothing but the traits'
/// promises.
macro_rules! promised {
    ($($(#[$meta:meta])* fn $name:ident($($args:tt)*) $(-> $ret:ty)? { $($body:tt)* })*) => {$(
        $(#[$meta])*
        #[inline(always)]
        #[allow(unused_unsafe)] // Plain loops need none.
        unsafe fn $name($($args)*) $(-> $ret)? {
            // SAFETY: the processor has the instruction set, and pointers are valid for the lanes that they name, as the traits ask.
            unsafe { $($body)* }
        }
    )*};
}
use promised;

/// Work that is written once for all instruction sets.
pub(crate) trait Kernel {
    /// What the work returns.
    type Output;
    /// Does the work. Implementations are `#[inline(always)]`, as is all that they call with `V`: a
    /// function of its own, which a closure is too, has no instruction set switched on, and
    /// each operation in it is a call.
    ///
    /// # Safety
    /// The processor has V's instruction set, and what the kernel says of its fields holds.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// An instruction set that this processor has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Isa(Level);

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Isa {
    /// The sets that this processor has, best first, whatever the switch says.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        Level::available().map(Self).collect()
    }

    /// The best set that this processor has and that the switch allows.
    pub(crate) fn best() -> Self {
        Self(level())
    }

    /// Lanes of a register.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::Zmm::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::Ymm::LANES,
            _ => portable::Eight::LANES,
        }
    }

    /// Most rows of a tile two registers wide.
    pub(crate) fn rows(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::Zmm::ROWS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::Ymm::ROWS,
            _ => portable::Eight::ROWS,
        }
    }

    /// Does the work with this set.
    ///
    /// # Safety
    /// What the kernel says of its fields holds.
    pub(crate) unsafe fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: the processor has the set, since there is an `Isa` of it; the rest is the
            // caller's promise.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512::run(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2::run(kernel) },
            // SAFETY: plain Rust needs no set; the rest is the caller's promise.
            _ => unsafe { kernel.run::<portable::Eight>() },
        }
    }
}
