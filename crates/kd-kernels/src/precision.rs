//! The precision in which dense layers multiply matrices.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

/// What matrix products do to their `f32` operands. Weights, activations, gradients and optimiser
/// states are `f32` with either.
///
/// It is a property of the thread that records an op: [`Precision::during`] sets it for a stretch
/// of a program, and the backward pass of an op has the precision in which the op was recorded.
/// [`crate::linear::linear`], [`crate::feed_forward::feed_forward`] and
/// [`crate::smoothed_cross_entropy::projected_cross_entropy`] follow it, forward and backward;
/// every other op computes in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Operands are taken as they are.
    #[default]
    Float32,
    /// Operands are rounded to bfloat16, 8 bits of significand, to the nearest and ties to even;
    /// their products are exact, and are summed in `f32`. A value below 2^-126 in magnitude
    /// counts as 0. The result is `f32` and is not rounded again.
    ///
    /// A relative error of up to 2^-8 of each product buys speed on processors that have AMX
    /// (Intel's from 2023 on, under Linux). Elsewhere the operands are rounded first, and it is
    /// slower than [`Precision::Float32`]. Ops on devices other than the CPU multiply tensors of
    /// [`candle_core::DType::BF16`], whose result is rounded to bfloat16 as well, as with PyTorch's
    /// `autocast`.
    Bfloat16,
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::Float32) };
}

impl Precision {
    /// The precision of ops that this thread records now.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Calls `f` with this precision in force on this thread, and puts back the one before, also
    /// when `f` panics.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use kd_kernels::{Activation, Precision, linear::linear};
    ///
    /// // 1 + 2^-9 needs more bits than bfloat16 has.
    /// let x = Tensor::new(&[[1.001953125f32]], &Device::Cpu)?;
    /// let w = Tensor::new(&[[1f32]], &Device::Cpu)?;
    /// let y = Precision::Bfloat16.during(|| linear(&x, &w, None, Activation::None))?;
    /// assert_eq!(y.to_vec2::<f32>()?, [[1.0]]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn during<R>(self, f: impl FnOnce() -> R) -> R {
        struct Restore(Precision);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self));
        f()
    }
}

/// `x` rounded to bfloat16: to the nearest, ties to even; magnitudes below 2^-126 become 0, and NaN
/// stays NaN.
pub(crate) fn round_to_bfloat16(x: f32) -> f32 {
    let bits = x.to_bits();
    let (sign, magnitude) = (bits & 0x8000_0000, bits & 0x7FFF_FFFF);
    let rounded = match magnitude {
        0..0x0080_0000 => 0,
        0x7F80_0001.. => magnitude | 0x0040_0000,
        _ => magnitude + 0x7FFF + ((magnitude >> 16) & 1),
    };
    f32::from_bits(sign | (rounded & 0xFFFF_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_and_ties_go_to_the_even_one() {
        for (x, want) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (-1.0 - 1.0 / 255.0, -1.0 - 2.0 / 256.0),
            (f32::MIN_POSITIVE / 2.0, 0.0),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
        ] {
            assert_eq!(round_to_bfloat16(x), want, "{x}");
        }
        assert!(round_to_bfloat16(f32::from_bits(0x7F80_0001)).is_nan());
    }

    #[test]
    fn the_precision_before_comes_back_after_a_panic() {
        let panicked = std::panic::catch_unwind(|| {
            Precision::Bfloat16.during(|| std::panic::resume_unwind(Box::new(())))
        });
        assert!(panicked.is_err());
        assert_eq!(Precision::current(), Precision::Float32);
    }
}
