//! Noise-contrastive estimation against a memory of embeddings: the loss of contrastive
//! representation distillation.

mod cpu;
mod picks;
pub mod reference;

use candle_core::{DType, Result, Tensor, bail};

pub use picks::{Picks, RowMut};

use crate::switch::takes_kernel;

/// Added to the denominators, as in the authors' program.
pub const EPSILON: f64 = 1e-7;

/// What pairs of an anchor and a row of the memory the loss is of.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// The row of the memory that belongs to each anchor.
    pub positives: &'a [u32],
    /// Rows that are noise for it; each anchor has the same number m of them.
    pub negatives: &'a Picks,
    /// τ, above 0.
    pub temperature: f64,
}

/// Noise-contrastive loss of b anchors against a memory of n rows:
///
/// −1/b · Σ_i \[ ln(P_i₊ / (P_i₊ + m/n + ε)) + Σ_{j ∈ negatives(i)} ln((m/n) / (P_ij + m/n + ε))
/// \], with P_ij = exp(a_i · w_j / τ) / Z.
///
/// * `anchors` a: `[b, d]`, `memory` w: `[n, d]`; positives are b rows of the memory, and negatives
///   m rows for each anchor, at least 1.
/// * `normaliser` Z > 0: a constant.
/// * result: a scalar of the anchors' dtype, in nats; ε is [`EPSILON`].
///
/// Gradients flow to the anchors only, computed in the forward pass where one can be asked for. The
/// memory gets none, even where it has a graph, and may be written to before the backward pass.
/// Of exponents above 88 (in f32) the loss is no finite number.
///
/// The kernel multiplies all anchors with blocks of the whole memory and picks from the products,
/// since reading rows of the memory in random order takes longer than the products that nobody
/// asked for (m/n of 1/3: a third of them is needed). A block's scores and their gradients
/// stay in cache. `f32` on the CPU runs it; all others run [`reference::noise_contrast`]. Products
/// are in full precision always: scores are divided by τ, 0.07 in the paper, and exponentiated.
///
/// Fails on shapes and pairs that do not fit, and on a temperature or a normaliser that is not
/// finite and above 0.
///
/// Source: Y. Tian, D. Krishnan, P. Isola, "Contrastive representation distillation", ICLR 2020,
/// section 3.1, with ε, the memory and the constant Z of their program.
pub fn noise_contrast(
    anchors: &Tensor,
    memory: &Tensor,
    pairs: &Pairs,
    normaliser: f64,
) -> Result<Tensor> {
    check(anchors, memory, pairs)?;
    if !(normaliser.is_finite() && normaliser > 0.0) {
        bail!("noise_contrast: expected a finite normaliser above 0, got {normaliser}");
    }
    let memory = memory.detach();
    if takes_kernel(&[anchors, &memory])? {
        cpu::noise_contrast(anchors, &memory, pairs, normaliser)
    } else {
        reference::noise_contrast(anchors, &memory, pairs, normaliser)
    }
}

/// n · mean of exp(a_i · w_j / τ) over all pairs, positives and negatives: what the paper's program
/// fixes Z to at its first batch.
///
/// Takes what [`noise_contrast`] takes, and fails as it does.
pub fn normaliser(anchors: &Tensor, memory: &Tensor, pairs: &Pairs) -> Result<f64> {
    check(anchors, memory, pairs)?;
    let (anchors, memory) = (anchors.detach(), memory.detach());
    if takes_kernel(&[&anchors, &memory])? {
        cpu::normaliser(&anchors, &memory, pairs)
    } else {
        reference::normaliser(&anchors, &memory, pairs)
    }
}

fn check(anchors: &Tensor, memory: &Tensor, pairs: &Pairs) -> Result<()> {
    let (&[b, d], &[n, width]) = (anchors.dims(), memory.dims()) else {
        bail!(
            "noise_contrast: expected anchors [b, d] and a memory [n, d], got {:?} and {:?}",
            anchors.dims(),
            memory.dims()
        )
    };
    if b == 0 || d == 0 || width != d {
        bail!(
            "noise_contrast: expected anchors [b, d] and a memory [n, d] with b, d >= 1, got {:?} and {:?}",
            anchors.dims(),
            memory.dims()
        );
    }
    let Pairs { positives, negatives, temperature } = pairs;
    if positives.len() != b || negatives.rows() != b || negatives.columns() != n {
        let (rows, columns) = (negatives.rows(), negatives.columns());
        bail!(
            "noise_contrast: {b} anchors and a memory of {n}, but {} positives and negatives of {rows} x {columns}",
            positives.len()
        );
    }
    if let Some(i) = positives.iter().position(|&row| row as usize >= n) {
        bail!(
            "noise_contrast: positive {} at index {i} is out of range for a memory of {n}",
            positives[i]
        );
    }
    let m = negatives.count(0);
    if let Some(i) = (0..b).find(|&i| negatives.count(i) != m || m == 0) {
        bail!(
            "noise_contrast: expected as many negatives for each anchor, at least 1, got {m} for the first and {} for anchor {i}",
            negatives.count(i)
        );
    }
    if !(temperature.is_finite() && *temperature > 0.0) {
        bail!("noise_contrast: expected a finite temperature above 0, got {temperature}");
    }
    if !matches!(anchors.dtype(), DType::F32 | DType::F64) || memory.dtype() != anchors.dtype() {
        bail!(
            "noise_contrast: expected anchors and memory of one type, f32 or f64, got {:?} and {:?}",
            anchors.dtype(),
            memory.dtype()
        );
    }
    Ok(())
}
