//! Instruction sets: what the processor has, and what the switch lets kernels use of it. The only
//! file that asks the processor.

use crate::switch::{Kernels, most};

/// Instruction sets, each with all that the ones before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
pub(crate) enum Level {
    /// What the build asks of every machine.
    Portable,
    /// AVX2 with fused multiply-add: 8 lanes, 16 registers.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, and BMI2: 16 lanes, 32 registers, masks.
    Avx512,
}

#[cfg(test)]
impl Level {
    /// All of them.
    const ALL: [Level; 3] = [Level::Portable, Level::Avx2, Level::Avx512];

    /// Those that this processor has, best first, whatever the switch says.
    pub(crate) fn available() -> impl Iterator<Item = Level> {
        let best = detected();
        Level::ALL.into_iter().rev().filter(move |level| *level <= best)
    }
}

/// The best set that this processor has and that the switch allows.
#[inline]
pub(crate) fn level() -> Level {
    let allowed = match most() {
        Kernels::Portable => Level::Portable,
        Kernels::Avx2 => Level::Avx2,
        // The twins draw their random numbers with kernels.
        Kernels::Off | Kernels::Avx512 | Kernels::Best => Level::Avx512,
    };
    allowed.min(detected())
}

/// The best set that this processor has. The standard library keeps what the processor answered.
#[inline]
fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("bmi2");
        if avx2 && avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// Whether the processor and its operating system have what [`crate::gemm`] asks for bfloat16
/// beside [`Level::Avx512`], and the switch allows it. The first call asks the system for the
/// tiles' registers.
#[cfg(target_arch = "x86_64")]
pub(crate) fn amx() -> bool {
    static DETECTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let detected = || {
        detected() == Level::Avx512
            && is_x86_feature_detected!("avx512bf16")
            && has_tiles()
            && granted()
    };
    most() == Kernels::Best && *DETECTED.get_or_init(detected)
}

/// As above; no other processor has them.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn amx() -> bool {
    false
}

/// Whether the processor has tiles of bfloat16.
#[cfg(target_arch = "x86_64")]
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // SAFETY: every processor that runs this has the instruction. Older compilers do not know that.
    #[allow(unused_unsafe)]
    let features = unsafe { if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).edx } else { 0 } };
    let (bf16, tiles) = (features & (1 << 22) != 0, features & (1 << 24) != 0);
    bf16 && tiles
}

/// Whether the operating system lets this process use tiles: Linux grants their registers on
/// request.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers and changes nothing but what this process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn granted() -> bool {
    false
}
