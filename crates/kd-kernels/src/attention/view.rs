//! Tensors of sequences as the kernel of [`super::attention`] reads them.

use candle_core::{Layout, Result, Storage, Tensor, bail};

/// A tensor `[b, t, d]` whose columns lie one after another.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) values: &'a [f32],
    pub(super) batch: usize,
    pub(super) row: usize,
}

impl<'a> View<'a> {
    pub(super) fn of(storage: &'a Storage, layout: &Layout) -> Result<Self> {
        let Storage::Cpu(storage) = storage else {
            bail!("attention: the kernel was given a tensor that is not on the CPU")
        };
        let values = &storage.as_slice::<f32>()?[layout.start_offset()..];
        match *layout.stride() {
            [batch, row, 1] => Ok(Self { values, batch, row }),
            _ => bail!(
                "attention: expected columns one after another, got strides {:?}",
                layout.stride()
            ),
        }
    }

    /// The values from column `col` of the first row of batch row `b` on. They end with the tensor,
    /// not with the row.
    pub(super) fn at(&self, b: usize, col: usize) -> *const f32 {
        self.values[b * self.batch + col..].as_ptr()
    }
}

/// `t` itself if its columns lie one after another, otherwise a copy.
pub(super) fn columns_together(t: &Tensor) -> Result<Tensor> {
    if t.stride()[2] == 1 { Ok(t.clone()) } else { t.force_contiguous() }
}
