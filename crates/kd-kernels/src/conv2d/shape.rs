//! The sizes of one convolution.

use super::Geometry;
use candle_core::{Result, Tensor, bail};

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
    pub(super) fn of(x: &Tensor, w: &Tensor, b: Option<&Tensor>, geometry: Geometry) -> Result<Self> {
        let &[n, cin, h, wi] = x.dims() else { bail!("conv2d: x has shape {:?}, expected [batch, in, height, width]", x.dims()) };
        let &[cout, per_group, kh, kw] = w.dims() else {
            bail!("conv2d: w has shape {:?}, expected [out, in / groups, height, width]", w.dims())
        };
        let Geometry { stride, padding, groups } = geometry;
        if stride == 0 || groups == 0 || kh == 0 || kw == 0 {
            bail!("conv2d: expected stride, groups and kernel of at least 1, got stride {stride}, groups {groups}, kernel {kh}x{kw}")
        }
        if cin % groups != 0 || cout % groups != 0 || per_group != cin / groups {
            bail!("conv2d: w has shape {:?}, expected [out, {cin} / {groups}, ..] with out a multiple of {groups}", w.dims())
        }
        if let Some(b) = b
            && b.dims() != [cout]
        {
            bail!("conv2d: b has shape {:?}, expected [{cout}]", b.dims())
        }
        let out = |size: usize, kernel: usize| (size + 2 * padding).checked_sub(kernel).map(|room| room / stride + 1);
        let (Some(ho), Some(wo)) = (out(h, kh), out(wi, kw)) else {
            bail!("conv2d: a kernel of {kh}x{kw} does not fit in {h}x{wi} with padding {padding}")
        };
        Ok(Self { n, cin, h, w: wi, cout, kh, kw, ho, wo, geometry })
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
