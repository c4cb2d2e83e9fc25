//! The sizes of one convolution.

use super::Geometry;
use crate::vector::WIDEST_STRIDE;
use candle_core::{Result, Tensor, bail};

/// Largest count of values, and largest padded side: what leaves room for sums of a few such
/// counts.
const LARGEST: usize = isize::MAX as usize / 64;

/// The sizes of a convolution whose operands fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Images.
    pub n: usize,
    /// Input channels, all groups together.
    pub cin: usize,
    /// Input height and width.
    pub h: usize,
    pub w: usize,
    /// Output channels, all groups together.
    pub cout: usize,
    /// Kernel height and width.
    pub kh: usize,
    pub kw: usize,
    /// Output height and width.
    pub ho: usize,
    pub wo: usize,
    pub geometry: Geometry,
}

impl Shape {
    /// The sizes, or an error that names what does not fit.
    pub(super) fn of(
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        geometry: Geometry,
    ) -> Result<Self> {
        let &[n, cin, h, wi] = x.dims() else {
            bail!("conv2d: x has shape {:?}, expected [batch, in, height, width]", x.dims())
        };
        let &[cout, per_group, kh, kw] = w.dims() else {
            bail!("conv2d: w has shape {:?}, expected [out, in / groups, height, width]", w.dims())
        };
        let Geometry { stride, padding, groups } = geometry;
        if stride > WIDEST_STRIDE {
            bail!("conv2d: expected a stride of at most {WIDEST_STRIDE}, got {stride}")
        }
        if stride == 0 || groups == 0 || kh == 0 || kw == 0 {
            bail!(
                "conv2d: expected stride, groups and kernel of at least 1, got stride {stride}, groups {groups}, kernel {kh}x{kw}"
            )
        }
        if cin % groups != 0 || cout % groups != 0 || per_group != cin / groups {
            bail!(
                "conv2d: w has shape {:?}, expected [out, {cin} / {groups}, ..] with out a multiple of {groups}",
                w.dims()
            )
        }
        if let Some(b) = b
            && b.dims() != [cout]
        {
            bail!("conv2d: b has shape {:?}, expected [{cout}]", b.dims())
        }
        let padded = |size: usize| {
            padding
                .checked_mul(2)
                .and_then(|both| both.checked_add(size))
                .filter(|padded| *padded <= LARGEST)
        };
        let (Some(padded_h), Some(padded_w)) = (padded(h), padded(wi)) else {
            bail!("conv2d: a padding of {padding} around {h}x{wi} is too large")
        };
        let out =
            |size: usize, kernel: usize| size.checked_sub(kernel).map(|room| room / stride + 1);
        let (Some(ho), Some(wo)) = (out(padded_h, kh), out(padded_w, kw)) else {
            bail!("conv2d: a kernel of {kh}x{kw} does not fit in {h}x{wi} with padding {padding}")
        };
        // Places in all three are counted in `isize`, with some registers of room.
        if [n, cout, ho, wo]
            .iter()
            .try_fold(1usize, |len, &dim| len.checked_mul(dim))
            .is_none_or(|len| len > LARGEST)
        {
            bail!("conv2d: a result of {n}x{cout}x{ho}x{wo} is too large")
        }
        Ok(Self { n, cin, h, w: wi, cout, kh, kw, ho, wo, geometry })
    }

    /// Panics unless the operands that are given have the lengths of x, w and y, which the kernels
    /// trust.
    pub(super) fn check(&self, x: Option<&[f32]>, w: Option<&[f32]>, y: Option<&[f32]>) {
        assert!(
            x.is_none_or(|x| x.len() == self.x_len()),
            "x of {self:?} has {:?} values",
            x.map(<[f32]>::len)
        );
        assert!(
            w.is_none_or(|w| w.len() == self.w_len()),
            "w of {self:?} has {:?} values",
            w.map(<[f32]>::len)
        );
        assert!(
            y.is_none_or(|y| y.len() == self.y_len()),
            "y of {self:?} has {:?} values",
            y.map(<[f32]>::len)
        );
    }

    /// Numbers in x.
    pub(super) fn x_len(&self) -> usize {
        self.n * self.cin * self.h * self.w
    }

    /// Numbers in w.
    pub(super) fn w_len(&self) -> usize {
        self.cout * self.cin / self.geometry.groups * self.kh * self.kw
    }

    /// Numbers in y.
    pub(super) fn y_len(&self) -> usize {
        self.n * self.cout * self.ho * self.wo
    }
}
