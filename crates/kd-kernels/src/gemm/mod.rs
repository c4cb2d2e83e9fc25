//! Matrix product of `f32` matrices with arbitrary strides, with the bias and the activation
//! applied to the result while it is still in registers.
//!
//! Implementations are chosen from what the processor offers and the switch allows. In `f32`:
//! hand-written AVX-512 (`avx512`), and the `gemm` crate elsewhere (`portable`), which has AVX2 and
//! NEON kernels. With operands rounded to bfloat16: AMX (`amx`), and the product in `f32` of
//! rounded copies elsewhere (`rounded`). All sum an element in one fixed order on one thread, so a
//! result does not depend on how many threads share the work.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod buffer;
mod portable;
mod rounded;

use crate::Precision;
#[cfg(target_arch = "x86_64")]
use crate::level::{Level, level};
use crate::output::written;
use candle_core::{Result, bail};

/// A read-only matrix over a slice: element (i, j) is `data[i * row_stride + j * col_stride]`.
///
/// A stride of 0 repeats a row or a column, so broadcast operands need no copy.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> MatRef<'a> {
    /// A view of `rows` x `cols` elements of `data` with the given strides, in elements.
    ///
    /// Fails if the last element lies outside `data`.
    pub fn new(
        data: &'a [f32],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self> {
        let needed = if rows == 0 || cols == 0 {
            Some(0)
        } else {
            let down = (rows - 1).checked_mul(row_stride);
            let across = (cols - 1).checked_mul(col_stride);
            down.zip(across)
                .and_then(|(d, a)| d.checked_add(a))
                .and_then(|last| last.checked_add(1))
        };
        match needed {
            Some(n) if n <= data.len() => Ok(Self { data, rows, cols, row_stride, col_stride }),
            _ => bail!(
                "gemm: a {rows}x{cols} matrix with strides ({row_stride}, {col_stride}) does not fit in {} elements",
                data.len()
            ),
        }
    }

    /// A `rows` x `cols` matrix stored row after row in `data`.
    pub fn row_major(data: &'a [f32], rows: usize, cols: usize) -> Result<Self> {
        Self::new(data, rows, cols, cols, 1)
    }

    /// The transpose: the same data with the strides exchanged.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
}

/// What is done to an element of the product before it is written.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// c = (A·B).
    Identity,
    /// c = max(A·B, 0), with NaN kept.
    Relu,
    /// c = A·B + bias, the bias having one value per column.
    Bias(&'a [f32]),
    /// c = max(A·B + bias, 0), with NaN kept.
    BiasRelu(&'a [f32]),
}

impl<'a> Epilogue<'a> {
    /// The bias, if this epilogue adds one.
    fn bias(self) -> Option<&'a [f32]> {
        match self {
            Epilogue::Identity | Epilogue::Relu => None,
            Epilogue::Bias(b) | Epilogue::BiasRelu(b) => Some(b),
        }
    }

    /// Whether negative values become 0.
    fn relu(self) -> bool {
        matches!(self, Epilogue::Relu | Epilogue::BiasRelu(_))
    }
}

/// C[M, N] = epilogue(A[M, K] · B[K, N]), as a new row-major vector of M·N elements. The bias is
/// added in `f32` with any precision.
///
/// Each element is summed over k = 0, 1, … by one thread. With K = 0 the product is 0, and with M =
/// 0 or N = 0 the result is empty. Fails if the inner sizes differ or the bias does not have N
/// values.
pub fn gemm(a: MatRef, b: MatRef, epilogue: Epilogue, precision: Precision) -> Result<Vec<f32>> {
    let len = check(&a, &b, epilogue)?;
    // SAFETY: the shapes are checked, the memory has room for `len` elements, and `dispatch` writes
    // every one of them.
    Ok(unsafe {
        written(len, |c| dispatch(a, b, epilogue, precision, false, c.as_mut_ptr().cast())).0
    })
}

/// [`gemm()`] into memory that exists already: overwrites `c`, row-major M x N.
///
/// Fails as [`gemm()`] does, and if `c` does not have M·N elements.
pub fn gemm_into(
    a: MatRef,
    b: MatRef,
    epilogue: Epilogue,
    precision: Precision,
    c: &mut [f32],
) -> Result<()> {
    if c.len() != check(&a, &b, epilogue)? {
        bail!("gemm: the result has {} elements, expected {}x{}", c.len(), a.rows, b.cols)
    }
    // SAFETY: the shapes are checked, and `c` has M·N elements.
    unsafe { dispatch(a, b, epilogue, precision, false, c.as_mut_ptr()) }
    Ok(())
}

/// C += A[M, K] · B[K, N], for `c` row-major M x N.
///
/// Each element goes on from its value over k = 0, 1, … on one thread. Fails as [`gemm_into`] does.
pub fn gemm_add(a: MatRef, b: MatRef, precision: Precision, c: &mut [f32]) -> Result<()> {
    if c.len() != check(&a, &b, Epilogue::Identity)? {
        bail!("gemm: the result has {} elements, expected {}x{}", c.len(), a.rows, b.cols)
    }
    // SAFETY: the shapes are checked, and `c` has M·N elements, all of them values.
    unsafe { dispatch(a, b, Epilogue::Identity, precision, true, c.as_mut_ptr()) }
    Ok(())
}

/// The number of elements of the product, or an error that names what does not fit.
fn check(a: &MatRef, b: &MatRef, epilogue: Epilogue) -> Result<usize> {
    if a.cols != b.rows {
        bail!("gemm: inner sizes differ, {}x{} times {}x{}", a.rows, a.cols, b.rows, b.cols)
    }
    match epilogue.bias() {
        Some(bias) if bias.len() != b.cols => {
            bail!("gemm: the bias has {} values, expected {}", bias.len(), b.cols)
        }
        // Strides of 0 make matrices of any size from few values.
        _ => match a
            .rows
            .checked_mul(b.cols)
            .filter(|len| *len <= isize::MAX as usize / size_of::<f32>())
        {
            Some(len) => Ok(len),
            None => bail!("gemm: a product of {}x{} elements is too large", a.rows, b.cols),
        },
    }
}

/// # Safety
/// A's columns are B's rows, the bias fits N, and `c` is writable for M·N elements that nothing
/// else refers to, and that hold values if they are accumulated to.
unsafe fn dispatch(
    a: MatRef,
    b: MatRef,
    epilogue: Epilogue,
    precision: Precision,
    accumulate: bool,
    c: *mut f32,
) {
    if a.rows == 0 || b.cols == 0 {
        return;
    }
    if precision == Precision::Bfloat16 {
        #[cfg(target_arch = "x86_64")]
        if crate::level::amx() {
            // SAFETY: the processor has AMX and the system allows it; the rest is the caller's
            // promise.
            return unsafe { amx::gemm(a, b, epilogue, accumulate, c) };
        }
        // SAFETY: the caller's promise.
        return unsafe { rounded::gemm(a, b, epilogue, accumulate, c) };
    }
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        // SAFETY: the processor has the level; the rest is the caller's promise.
        return unsafe { avx512::gemm(a, b, epilogue, accumulate, c) };
    }
    // SAFETY: the caller's promise.
    unsafe { portable::gemm(a, b, epilogue, accumulate, c) }
}

#[cfg(test)]
mod tests;
