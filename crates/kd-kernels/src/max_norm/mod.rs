//! The constraint on the length of each unit's incoming weight vector.

pub(crate) mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, Var, bail};

use crate::switch::takes_kernel;

/// A row is scaled to this fraction of the cap, 2^-22 below it, so that its rounded values do not
/// exceed the cap and a second application changes nothing.
const MARGIN: f64 = 1.0 - 1.0 / 4194304.0;

/// Max-norm: each row w of the weight with ‖w‖₂ > `cap` becomes w·cap/‖w‖₂, in place; shorter rows
/// stay as they are.
///
/// `weight` `[out, ..]`: a row is all that belongs to one index of the first dimension, the
/// incoming weights of one unit. A scaled row comes out about 2·10^-7 shorter than `cap`, relative
/// to it, which makes the op idempotent. Not differentiated.
///
/// Errors: a weight of rank below 2 (a bias has no rows: do not pass it), and a cap that is not
/// finite and above 0.
///
/// Source: G. E. Hinton et al., "Improving neural networks by preventing co-adaptation of feature
/// detectors", 2012, section 2.
///
/// ```
/// use candle_core::{Device, Var};
/// let weight = Var::new(&[[3f32, 4.], [0.3, 0.4]], &Device::Cpu)?;
/// kd_kernels::max_norm::max_norm(&weight, 1.0)?;
/// let rows = weight.to_vec2::<f32>()?;
/// assert!((rows[0][0] - 0.6).abs() < 1e-6 && (rows[0][1] - 0.8).abs() < 1e-6);
/// assert_eq!(rows[1], [0.3, 0.4]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn max_norm(weight: &Var, cap: f64) -> Result<()> {
    check(weight, cap, "max_norm")?;
    if takes_kernel(&[weight])? {
        weight.inplace_op1(&cpu::MaxNorm { cap })
    } else {
        weight.set(&reference::max_norm(&weight.as_detached_tensor(), cap)?)
    }
}

/// Errors unless `cap` can be applied to the rows of `weight`.
pub(crate) fn check(weight: &Tensor, cap: f64, op: &str) -> Result<()> {
    if !(cap.is_finite() && cap > 0.0) {
        bail!("{op}: expected a finite max-norm above 0, got {cap}");
    }
    if weight.rank() < 2 {
        bail!("{op}: expected a weight of rank 2 or more for max-norm, got {:?}", weight.dims());
    }
    Ok(())
}
