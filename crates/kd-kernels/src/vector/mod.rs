//! One register of `f32` under one name for three instruction sets, so that a kernel is written once.
//!
//! A kernel is a [`Kernel`] whose `run` is generic over [`Vector`] and `#[inline(always)]`; [`Isa::run`] compiles it inside a function that
//! has the instruction set switched on. Sums use fused multiply-add where the set has one, so results differ between sets in the last bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// One register of `f32`. Lane `l` of a mask is its bit `l`.
///
/// # Safety
/// Every function may be called only where the processor has the instruction set, as inside [`Kernel::run`]; pointers are valid for the lanes
/// that the mask names, and for all lanes where there is none. They may point outside an allocation where the mask is 0.
pub(crate) trait Vector: Copy {
    /// Lanes of a register.
    const LANES: usize;
    /// Most rows of a tile two registers wide that leaves room for its operands.
    const ROWS: usize;

    /// All lanes `v`.
    unsafe fn splat(v: f32) -> Self;
    /// The lanes at `p`.
    unsafe fn load(p: *const f32) -> Self;
    /// Writes all lanes.
    unsafe fn store(self, p: *mut f32);
    /// self + a·b.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    /// self + other.
    unsafe fn add(self, other: Self) -> Self;
    /// Lane l is `p[l · stride]` where the mask has it, and 0 elsewhere.
    unsafe fn load_lanes(p: *const f32, stride: usize, mask: u32) -> Self;
    /// The lanes that the mask has take the values at `p` one after another; the others are 0.
    unsafe fn expand(p: *const f32, mask: u32) -> Self;
    /// Writes lane l to `p[l]` where the mask has it.
    unsafe fn store_lanes(self, p: *mut f32, mask: u32);
    /// The lanes of self and other by turns, as two registers.
    unsafe fn interleave(self, other: Self) -> (Self, Self);
    /// Transposes a square of LANES rows: `to[j · to_step + i] = from[i · from_step + j]`.
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize);

    /// The mask of all lanes.
    const FULL: u32 = ((1u64 << Self::LANES) - 1) as u32;
}

/// Work that is written once for all instruction sets.
pub(crate) trait Kernel {
    /// What the work returns.
    type Output;
    /// Does the work. Implementations are `#[inline(always)]`, as is all that they call with `V`: a function of its own, which a closure is
    /// too, has no instruction set switched on, and each operation in it is a call.
    ///
    /// # Safety
    /// The processor has V's instruction set.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// 16 lanes, 32 registers, masks.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 lanes, 16 registers.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain loops over 8 lanes.
    Portable,
}

impl Isa {
    /// The sets that this processor has, best first.
    pub(crate) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("bmi2") {
                all.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Isa::Avx2);
            }
        }
        all.push(Isa::Portable);
        all
    }

    /// The best set that this processor has.
    pub(crate) fn best() -> Self {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// Lanes of a register.
    pub(crate) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::Lanes::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::Lanes::LANES,
            Isa::Portable => portable::Lanes::LANES,
        }
    }

    /// Most rows of a tile two registers wide.
    pub(crate) fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::Lanes::ROWS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::Lanes::ROWS,
            Isa::Portable => portable::Lanes::ROWS,
        }
    }

    /// Does the work with this set.
    ///
    /// # Safety
    /// The set is one of [`Isa::available`], and the kernel's own promises hold.
    pub(crate) unsafe fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the processor has the set, says the caller.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512::run(kernel),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2::run(kernel),
                Isa::Portable => kernel.run::<portable::Lanes>(),
            }
        }
    }
}
