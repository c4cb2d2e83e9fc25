//! Sets of columns, one set a row: which entries of a matrix an op works on.

use candle_core::{Device, Result, Tensor, bail};

const BITS: usize = u64::BITS as usize;

/// A set of columns for each row of a matrix of `columns` columns, as one bit an entry.
///
/// ```
/// use kd_kernels::noise_contrast::Picks;
///
/// let picks = Picks::new(5, &[vec![0, 3], vec![4]])?;
/// assert_eq!(picks.row(0).collect::<Vec<_>>(), [0, 3]);
/// assert_eq!((picks.rows(), picks.columns(), picks.count(1)), (2, 5, 1));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picks {
    rows: usize,
    columns: usize,
    words: Vec<u64>,
}

impl Picks {
    /// The sets that are listed, in any order.
    ///
    /// Fails on a column that is not below `columns`, and on one that is listed twice in a row.
    pub fn new<R: AsRef<[u32]>>(columns: usize, rows: &[R]) -> Result<Self> {
        let mut picks = Self::none(rows.len(), columns);
        let per_row = picks.words_per_row();
        for (i, row) in rows.iter().enumerate() {
            for &column in row.as_ref() {
                let column = column as usize;
                if column >= columns {
                    bail!(
                        "picks: column {column} of row {i} is out of range for {columns} columns"
                    );
                }
                if !insert(&mut picks.words[i * per_row..][..per_row], column) {
                    bail!("picks: column {column} stands twice in row {i}");
                }
            }
        }
        Ok(picks)
    }

    /// Empty sets for [`Picks::rows_mut`] to fill.
    pub fn none(rows: usize, columns: usize) -> Self {
        Self { rows, columns, words: vec![0; rows * columns.div_ceil(BITS)] }
    }

    /// The rows one by one, each to be filled by a task of its own.
    pub fn rows_mut(&mut self) -> Vec<RowMut<'_>> {
        let (columns, per_row) = (self.columns, self.words_per_row());
        self.words.chunks_mut(per_row.max(1)).map(|words| RowMut { words, columns }).collect()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns that a set can be of.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of columns in the set of row `i`; 0 where there is no such row.
    pub fn count(&self, i: usize) -> usize {
        self.words_of(i).iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether column `j` is in the set of row `i`.
    pub fn contains(&self, i: usize, j: usize) -> bool {
        self.words_of(i).get(j / BITS).is_some_and(|word| word >> (j % BITS) & 1 == 1)
    }

    /// The set of row `i`, ascending; empty where there is no such row.
    pub fn row(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        self.words_of(i)
            .iter()
            .enumerate()
            .flat_map(|(at, &word)| SetBits(word).map(move |bit| at * BITS + bit))
    }

    /// 1 where a column is in its row's set and 0 elsewhere, f32 `[rows, columns]`.
    pub fn mask(&self, device: &Device) -> Result<Tensor> {
        let mut mask = vec![0f32; self.rows * self.columns];
        for i in 0..self.rows {
            self.row(i).for_each(|j| mask[i * self.columns + j] = 1.0);
        }
        Tensor::from_vec(mask, (self.rows, self.columns), device)
    }

    /// The words of columns `start .. start + 64·count` of row `i`, with `start` a multiple of 64;
    /// fewer at the end.
    #[inline(always)]
    pub(super) fn words(&self, i: usize, start: usize, count: usize) -> &[u64] {
        let words = self.words_of(i);
        let start = (start / BITS).min(words.len());
        &words[start..(start + count).min(words.len())]
    }

    #[inline(always)]
    fn words_of(&self, i: usize) -> &[u64] {
        let per_row = self.words_per_row();
        self.words.get(i * per_row..(i + 1) * per_row).unwrap_or(&[])
    }

    #[inline(always)]
    fn words_per_row(&self) -> usize {
        self.columns.div_ceil(BITS)
    }
}

/// One row of [`Picks`].
#[derive(Debug)]
pub struct RowMut<'a> {
    words: &'a mut [u64],
    columns: usize,
}

impl RowMut<'_> {
    /// Puts column `j` into the set. False, and nothing changes, where it is in it already or is no
    /// column.
    #[inline]
    pub fn insert(&mut self, j: usize) -> bool {
        j < self.columns && insert(self.words, j)
    }
}

#[inline]
fn insert(words: &mut [u64], j: usize) -> bool {
    let (word, bit) = (&mut words[j / BITS], 1 << (j % BITS));
    let new = *word & bit == 0;
    *word |= bit;
    new
}

/// The positions of a word's ones, ascending.
pub(super) struct SetBits(pub(super) u64);

impl Iterator for SetBits {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}
