//! The switch between the kernels, their instruction sets, and the twins from stock Candle ops.
//!
//! The environment sets it with `KD_KERNELS`, which is read once: `off`, `portable`, `avx2` or
//! `avx512`. [`set_kernels`] changes it for the whole process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use candle_core::{DType, Error, Result, Tensor};

use crate::level::{Level, amx, level};

/// What runs ops on `f32` CPU tensors. A limit on instruction sets is an upper one: a processor
/// that lacks the named set runs the next below.
///
/// Other crates choose their instructions themselves: Candle's ops do, and so does the `gemm`
/// crate, which multiplies `f32` matrices below AVX-512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// `KD_KERNELS=off`: the twins from stock Candle ops.
    Off,
    /// `KD_KERNELS=portable`: kernels with the instructions that the build asks of every machine.
    Portable,
    /// `KD_KERNELS=avx2`: kernels with AVX2 and fused multiply-add.
    Avx2,
    /// `KD_KERNELS=avx512`: kernels with AVX-512, without AMX.
    Avx512,
    /// `KD_KERNELS` not set or empty: kernels with all that the processor has.
    Best,
}

impl Kernels {
    const ALL: [Kernels; 5] =
        [Kernels::Off, Kernels::Portable, Kernels::Avx2, Kernels::Avx512, Kernels::Best];

    /// The meaning of a value of `KD_KERNELS`. Fails on any that is not named above.
    pub fn parse(value: &str) -> Result<Self> {
        match value {
            "off" => Ok(Kernels::Off),
            "portable" => Ok(Kernels::Portable),
            "avx2" => Ok(Kernels::Avx2),
            "avx512" => Ok(Kernels::Avx512),
            "" => Ok(Kernels::Best),
            other => Err(Error::Msg(format!(
                "KD_KERNELS: expected off, portable, avx2 or avx512, got {other:?}"
            ))),
        }
    }
}

const NOT_SET: u8 = u8::MAX;

/// What [`set_kernels`] has set: an index of [`Kernels::ALL`], or [`NOT_SET`].
static SET: AtomicU8 = AtomicU8::new(NOT_SET);

/// What the environment says, or the message of an unknown value.
fn environment() -> &'static std::result::Result<Kernels, String> {
    static ENVIRONMENT: OnceLock<std::result::Result<Kernels, String>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let value = std::env::var_os("KD_KERNELS").unwrap_or_default();
        Kernels::parse(&value.to_string_lossy()).map_err(|error| error.to_string())
    })
}

/// What runs now. Fails where the environment has an unknown value and [`set_kernels`] was not
/// called; every op then fails with the same message, so that a program need not ask, but may when
/// it starts.
pub fn kernels() -> Result<Kernels> {
    match Kernels::ALL.get(usize::from(SET.load(Ordering::Relaxed))) {
        Some(kernels) => Ok(*kernels),
        None => environment().clone().map_err(Error::Msg),
    }
}

/// Sets what runs in the whole process from now on. Ops that ran before keep the backward pass they
/// were recorded with: a kernel stays a kernel and a twin a twin, though a kernel's backward pass
/// may use other instructions than its forward pass.
pub fn set_kernels(kernels: Kernels) {
    SET.store(kernels as u8, Ordering::Relaxed)
}

/// Whether ops on `f32` CPU tensors run this crate's kernels, on any instruction set.
pub fn kernels_enabled() -> bool {
    kernels().is_ok_and(|kernels| kernels != Kernels::Off)
}

/// The instructions that ops run on here, of those that the processor has and [`kernels`] allows:
/// `portable`, `avx2`, `avx512` or `avx512-amx`, or `off` and a set for the twins, which Candle
/// computes with its own choice of all that the processor has. Results of two machines may differ
/// in rounding unless these are the same.
///
/// # Errors
/// As [`kernels`].
pub fn instructions() -> Result<&'static str> {
    let off = kernels()? == Kernels::Off;
    Ok(match (level(), off) {
        (Level::Portable, false) => "portable",
        (Level::Avx2, false) => "avx2",
        (Level::Avx512, false) if amx() => "avx512-amx",
        (Level::Avx512, false) => "avx512",
        (Level::Portable, true) => "off-portable",
        (Level::Avx2, true) => "off-avx2",
        (Level::Avx512, true) => "off-avx512",
    })
}

/// [`kernels`] for code that cannot fail: with an unknown value in the environment, no op gets as
/// far as a result.
#[inline]
pub(crate) fn most() -> Kernels {
    match Kernels::ALL.get(usize::from(SET.load(Ordering::Relaxed))) {
        Some(kernels) => *kernels,
        None => *environment().as_ref().unwrap_or(&Kernels::Best),
    }
}

/// Whether an op on these tensors takes its kernel: the kernels are on, and every tensor is `f32`
/// on the CPU.
pub(crate) fn takes_kernel(tensors: &[&Tensor]) -> Result<bool> {
    Ok(kernels()? != Kernels::Off
        && tensors.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_value_and_others_are_refused_in_one_line() {
        for (name, kernels) in [
            ("off", Kernels::Off),
            ("portable", Kernels::Portable),
            ("avx2", Kernels::Avx2),
            ("avx512", Kernels::Avx512),
            ("", Kernels::Best),
        ] {
            assert_eq!(Kernels::parse(name).unwrap(), kernels);
        }
        for (i, kernels) in Kernels::ALL.into_iter().enumerate() {
            assert_eq!(kernels as usize, i);
        }
        let message = Kernels::parse("AVX2\n").unwrap_err().to_string();
        assert_eq!(message, r#"KD_KERNELS: expected off, portable, avx2 or avx512, got "AVX2\n""#);
    }
}
