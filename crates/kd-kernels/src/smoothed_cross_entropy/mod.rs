//! Cross-entropies over a large vocabulary: with smoothed labels, with the output projection in the
//! same op, and with a teacher's distribution.

mod cpu;
mod projected;
pub mod reference;
pub(crate) mod rows;

use candle_core::{DType, Result, Tensor, bail};

use crate::operand::logits_dims;
use crate::switch::takes_kernel;

/// The values of a cross-entropy over some of the rows.
#[derive(Clone, Debug)]
pub struct CrossEntropySums {
    /// The loss to minimise, a scalar with a graph, in nats, summed over the rows that count.
    /// Divide by [`CrossEntropySums::rows`] for the mean.
    pub loss: Tensor,
    /// Σ −ln p(target) over the same rows, a scalar without a graph: what perplexity is made of.
    pub nll: Tensor,
    /// How many rows count: all but those whose target is ignored.
    pub rows: usize,
}

/// Cross-entropy with smoothed labels: Σ_i (1 − ε)·(−ln p_i,y_i) + (ε/V)·Σ_v (−ln p_iv) over the
/// rows i that count, p = softmax(logits).
///
/// * `logits`: `[n, V]`, finite, not probabilities.
/// * `targets`: u32 `[n]`, on the logits' device or on the CPU, where they are read without a wait.
/// * `epsilon`: ε in [0, 1]. With 0 the loss is the plain negative log-likelihood.
/// * `ignore`: the target of rows that do not count (padding); it may lie outside the vocabulary.
///
/// Backward: ∂z_iv = p_iv − ε/V − (1 − ε)·\[v = y_i\] for rows that count, 0 for others. Only each
/// row's ln Σ e^z is kept; the softmax is not. The form is that of PyTorch's `label_smoothing` and
/// of fairseq's first `label_smoothed_cross_entropy`; fairseq's later one spreads ε over
/// the V − 1 other words. `f32` logits on the CPU run the kernel while [`crate::kernels_enabled`];
/// all others run [`reference::label_smoothed_cross_entropy`].
///
/// Errors: shapes that do not fit, targets that are not u32, ε outside [0, 1], and a target of V or
/// more that is not `ignore`, naming its index. The check reads the targets on the host: where they
/// are on an accelerator, it waits for them.
///
/// Source: C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016,
/// section 7.
pub fn label_smoothed_cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    epsilon: f64,
    ignore: Option<u32>,
) -> Result<CrossEntropySums> {
    if takes_kernel(&[logits])? {
        cpu::label_smoothed(logits, Targets::of_logits(logits, targets, epsilon, ignore)?)
    } else {
        reference::label_smoothed_cross_entropy(logits, targets, epsilon, ignore)
    }
}

/// [`label_smoothed_cross_entropy`] of the logits hidden · tableᵀ, which never exist at once.
///
/// * `hidden`: `[n, d]`, what the decoder made of each place.
/// * `table`: `[V, d]`, the output projection; often the embedding table, whose gradient then has
///   both parts.
/// * `targets`, `epsilon`, `ignore` and the result: those of [`label_smoothed_cross_entropy`].
///
/// On the CPU, runs of rows go from logits to gradients at once, and where a gradient can be asked
/// for, the gradients of `hidden` and `table` are computed in the forward pass; rows that do not
/// count are left out of all three products. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::projected_cross_entropy`].
///
/// Errors: those of [`label_smoothed_cross_entropy`], and where the widths of `hidden` and `table`
/// differ.
pub fn projected_cross_entropy(
    hidden: &Tensor,
    table: &Tensor,
    targets: &Tensor,
    epsilon: f64,
    ignore: Option<u32>,
) -> Result<CrossEntropySums> {
    if takes_kernel(&[hidden, table])? {
        projected::projected(
            hidden,
            table,
            Targets::of_projection(hidden, table, targets, epsilon, ignore)?,
        )
    } else {
        reference::projected_cross_entropy(hidden, table, targets, epsilon, ignore)
    }
}

/// Word-level distillation: Σ_i Σ_v −q_iv·ln p_iv over the rows i that count, with p =
/// softmax(logits) and q = softmax(teacher).
///
/// * `logits`: `[n, V]`, the student's, finite.
/// * `teacher`: `[n, V]`, the teacher's logits, finite. They get no gradient, even where they have
///   a graph.
/// * `counts`: for each row whether it counts; `None`: all do.
/// * result: a scalar of the logits' dtype, in nats.
///
/// Backward: ∂z_iv = p_iv − q_iv for rows that count, 0 for others. The temperature is 1; see
/// [`crate::softened_kl`] for others. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::soft_cross_entropy`]. Fails on shapes
/// that do not fit.
///
/// Source: Y. Kim, A. M. Rush, "Sequence-level knowledge distillation", 2016, section 3.1.
pub fn soft_cross_entropy(
    logits: &Tensor,
    teacher: &Tensor,
    counts: Option<&[bool]>,
) -> Result<Tensor> {
    let dims = logits_dims(logits, "soft_cross_entropy", "logits")?;
    if logits_dims(teacher, "soft_cross_entropy", "teacher logits")? != dims {
        bail!(
            "soft_cross_entropy: expected teacher logits {:?} as the student's, got {:?}",
            logits.dims(),
            teacher.dims()
        );
    }
    if let Some(counts) = counts.filter(|counts| counts.len() != dims.0) {
        bail!(
            "soft_cross_entropy: expected {} flags of rows that count, got {}",
            dims.0,
            counts.len()
        );
    }
    let teacher = teacher.detach();
    if takes_kernel(&[logits, &teacher])? {
        cpu::soft(logits, &teacher, counts)
    } else {
        reference::soft_cross_entropy(logits, &teacher, counts)
    }
}

/// Targets that were checked, and what is done with them.
struct Targets {
    /// The target of each row; `None` where the row does not count.
    ids: Vec<Option<u32>>,
    rows: usize,
    epsilon: f64,
}

impl Targets {
    fn of_logits(
        logits: &Tensor,
        targets: &Tensor,
        epsilon: f64,
        ignore: Option<u32>,
    ) -> Result<Self> {
        const OP: &str = "label_smoothed_cross_entropy";
        Self::of(targets, logits_dims(logits, OP, "logits")?, epsilon, ignore, OP)
    }

    fn of_projection(
        hidden: &Tensor,
        table: &Tensor,
        targets: &Tensor,
        epsilon: f64,
        ignore: Option<u32>,
    ) -> Result<Self> {
        const OP: &str = "projected_cross_entropy";
        let (n, d) = logits_dims(hidden, OP, "hidden")?;
        match table.dims() {
            &[v, width] if v > 0 && width == d => Self::of(targets, (n, v), epsilon, ignore, OP),
            dims => bail!("{OP}: table has shape {dims:?}, expected [V, {d}] with V >= 1"),
        }
    }

    fn of(
        targets: &Tensor,
        (n, v): (usize, usize),
        epsilon: f64,
        ignore: Option<u32>,
        op: &str,
    ) -> Result<Self> {
        if targets.dtype() != DType::U32 || targets.dims() != [n] {
            bail!(
                "{op}: expected targets u32 [{n}], got {:?} {:?}",
                targets.dtype(),
                targets.dims()
            );
        }
        if !(0.0..=1.0).contains(&epsilon) {
            bail!("{op}: expected epsilon in [0, 1], got {epsilon}");
        }
        let ids: Vec<Option<u32>> = targets
            .to_vec1::<u32>()?
            .into_iter()
            .map(|y| Some(y).filter(|_| Some(y) != ignore))
            .collect();
        if let Some((i, y)) =
            ids.iter().enumerate().find_map(|(i, y)| y.filter(|&y| y as usize >= v).map(|y| (i, y)))
        {
            bail!("{op}: target {y} at index {i} is out of range for {v} words");
        }
        let rows = ids.iter().flatten().count();
        Ok(Self { ids, rows, epsilon })
    }
}
