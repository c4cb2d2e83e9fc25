//! Keys and values of the words so far, in memory that stays where it is.

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Tensor, bail};
use rayon::prelude::*;

use kd_core::Result;

/// Places that a cache grows by.
const PLACES: usize = 32;

/// One tensor for each of some hypotheses, word by word: the first places of `[rows, places,
/// width]`.
pub(super) struct Cache {
    buffer: Tensor,
    /// Places that are taken.
    words: usize,
}

impl Cache {
    /// No words yet.
    pub fn new(rows: usize, width: usize, device: &Device) -> Result<Self> {
        Ok(Self { buffer: Tensor::zeros((rows, PLACES, width), DType::F32, device)?, words: 0 })
    }

    /// Adds a word, `[rows, 1, width]`, and returns all there are, a view without a graph. Views
    /// from before see what comes later.
    pub fn push(&mut self, word: &Tensor) -> Result<Tensor> {
        let (rows, places, width) = self.buffer.dims3()?;
        if self.words == places {
            let more = Tensor::zeros((rows, PLACES, width), DType::F32, self.buffer.device())?;
            self.buffer = Tensor::cat(&[&self.buffer, &more], 1)?;
        }
        self.buffer.slice_set(&word.detach(), 1, self.words)?;
        self.words += 1;
        Ok(self.buffer.narrow(1, 0, self.words)?)
    }

    /// Row r becomes a copy of row `rows[r]`. Where every row comes from its own group of `group`
    /// rows, they are moved in place.
    pub fn select(&mut self, rows: &[u32], group: usize) -> Result<()> {
        let near = rows.len() == self.buffer.dim(0)?
            && rows.iter().enumerate().all(|(i, &row)| i / group == row as usize / group);
        if near && (self.words == 0 || rows.is_empty()) {
            return Ok(());
        }
        if near && self.buffer.device().is_cpu() {
            return Ok(self.buffer.inplace_op1(&ReorderRows { rows, group, words: self.words })?);
        }
        self.buffer = self
            .buffer
            .index_select(&Tensor::from_slice(rows, rows.len(), self.buffer.device())?, 0)?;
        Ok(())
    }
}

/// Copies the first `words` places of rows within groups of rows.
struct ReorderRows<'a> {
    rows: &'a [u32],
    group: usize,
    words: usize,
}

impl InplaceOp1 for ReorderRows<'_> {
    fn name(&self) -> &'static str {
        "move-hypotheses"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (_, places, width) = layout.shape().dims3()?;
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("move-hypotheses: expected contiguous f32")
        };
        let (row, used, group) = (places * width, self.words * width, self.group);
        let groups = values[start..end]
            .par_chunks_mut(group * row)
            .zip(self.rows.par_chunks(group))
            .enumerate();
        groups.for_each(|(i, (values, rows))| {
            let moved: Vec<(usize, usize)> = rows
                .iter()
                .enumerate()
                .map(|(to, &from)| (to, from as usize - i * group))
                .collect();
            let moved: Vec<_> = moved.into_iter().filter(|(to, from)| to != from).collect();
            // A row may be read after another was written over it, so all are read first.
            let read: Vec<&[f32]> =
                moved.iter().map(|&(_, from)| &values[from * row..][..used]).collect();
            let read = read.concat();
            for (&(to, _), read) in moved.iter().zip(read.chunks_exact(used)) {
                values[to * row..][..used].copy_from_slice(read);
            }
        });
        Ok(())
    }
}
