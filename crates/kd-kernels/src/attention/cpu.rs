//! The kernel behind [`super::attention`].
//!
//! A task is one head of one batch row, and writes its columns of the result and of the three
//! gradients, so nothing is summed across tasks.
//!
//! The softmax is kept for the backward pass; what dropout took is derived again from the stream.
//! At the lengths of sentences the weights are small beside the activations (at 32 words and heads
//! of 64, an eighth of queries, keys, values and result), and to compute them again took
//! longer: both passes with dropout, on one thread, took 1.26 times as long for 32 rows of 32 words
//! with 4 heads of 64, 1.34 for 64 of 15 with 8 heads, 1.22 for 16 of 60 with 8 heads.

use std::mem::MaybeUninit;
use std::ops::Range;

use candle_core::{Result, Storage, Tensor};

use super::product::{AttentionProduct, Scores, Transposed};
use super::softening::{Visible, soften, soften_gradient};
use super::view::{View, columns_together};
use super::{Mask, Sizes};
use crate::dropout::cpu::{DropoutMask, drop_out_in_place};
use crate::gemm::buffer::{Workspace, with_lines};
use crate::graph::{Backward, Grad, record, sum};
use crate::output::{Parts, written};
use crate::rows::tasks;
use crate::vector::Isa;

thread_local! {
    static WORKSPACE: Workspace = const { std::cell::Cell::new(Vec::new()) };
}

/// Values of one line of scratch memory.
const LINE: usize = 16;

/// What each head sees: key lengths of the batch rows, and how many keys the first query sees where
/// order counts.
#[derive(Clone, Debug)]
struct VisibleKeys {
    keys: Vec<usize>,
    causal: bool,
}

/// Applies the kernel. All tensors are `f32` on the CPU, and fit.
pub(super) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    sizes: Sizes,
    mask: &Mask,
    dropout: Option<DropoutMask>,
) -> Result<Tensor> {
    let (q, k, v) = (columns_together(q)?, columns_together(k)?, columns_together(v)?);
    let keys = mask.key_lengths.map_or_else(|| vec![sizes.tk; sizes.b], <[usize]>::to_vec);
    let op = Attention {
        q: q.detach(),
        k: k.detach(),
        v: v.detach(),
        sizes,
        seen: VisibleKeys { keys, causal: mask.causal },
        dropout,
        isa: Isa::best(),
    };
    let tracked = [&q, &k, &v].iter().any(|t| t.track_op());
    let (y, weights) = op.forward(tracked)?;
    record(&[&q, &k, &v], y, (sizes.b, sizes.tq, sizes.heads * sizes.head_v), false, || {
        Ok(SavedWeights { op, weights })
    })
}

struct Attention {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sizes: Sizes,
    seen: VisibleKeys,
    dropout: Option<DropoutMask>,
    isa: Isa,
}

struct SavedWeights {
    op: Attention,
    /// The softmax before dropout, `[b, heads, tq, tk]`.
    weights: Vec<f32>,
}

impl Sizes {
    fn d(&self) -> usize {
        self.heads * self.head
    }

    fn d_v(&self) -> usize {
        self.heads * self.head_v
    }

    /// Values of a head's weights.
    fn square(&self) -> usize {
        self.tq * self.tk
    }

    fn scale(&self) -> f32 {
        (1.0 / (self.head as f64).sqrt()) as f32
    }
}

impl Attention {
    fn views<'a>(
        &self,
        q: &'a (impl std::ops::Deref<Target = Storage> + 'a),
        k: &'a (impl std::ops::Deref<Target = Storage> + 'a),
        v: &'a (impl std::ops::Deref<Target = Storage> + 'a),
    ) -> Result<[View<'a>; 3]> {
        Ok([
            View::of(q, self.q.layout())?,
            View::of(k, self.k.layout())?,
            View::of(v, self.v.layout())?,
        ])
    }

    /// The result, and the weights if they are to be kept.
    fn forward(&self, keep: bool) -> Result<(Vec<f32>, Vec<f32>)> {
        let Sizes { b, tq, heads, .. } = self.sizes;
        let (qs, ks, vs) = (
            self.q.storage_and_layout().0,
            self.k.storage_and_layout().0,
            self.v.storage_and_layout().0,
        );
        let views = self.views(&qs, &ks, &vs)?;
        let write = |y: &mut [MaybeUninit<f32>], weights: &mut [MaybeUninit<f32>]| {
            let (y, weights) = (Parts::of(y), Parts::of(weights));
            if tq == 1 && !keep && self.dropout.is_none() {
                tasks(b, |row| self.one_query(row, &views, &y));
            } else {
                tasks(b * heads, |task| self.head(task, &views, &y, keep.then_some(&weights)));
            }
        };
        let kept = if keep { b * heads * self.sizes.square() } else { 0 };
        // SAFETY: the tasks cover all heads of all rows; each writes its columns of the result, and
        // its weights where they are kept.
        let (y, (weights, ())) = unsafe {
            written(b * tq * self.sizes.d_v(), |y| written(kept, |weights| write(y, weights)))
        };
        Ok((y, weights))
    }

    /// Head `task % heads` of batch row `task / heads`.
    fn head(
        &self,
        task: usize,
        [q, k, v]: &[View; 3],
        y: &Parts<MaybeUninit<f32>>,
        kept: Option<&Parts<MaybeUninit<f32>>>,
    ) {
        let Sizes { tq, tk, heads, head, head_v, .. } = self.sizes;
        let (row, h, square) = (task / heads, task % heads, self.sizes.square());
        let (keys, padded) = (self.seen.keys[row], tk.next_multiple_of(LINE));
        with_lines(&WORKSPACE, padded * head / LINE + 2 * square.div_ceil(LINE), |scratch| {
            let transposed = scratch;
            let own = scratch.wrapping_add(padded * head);
            let dropped = own.wrapping_add(square.next_multiple_of(LINE));
            // SAFETY: the scratch memory holds the transposed keys and twice the weights; kept
            // weights are this task's own; the head's columns of q, k, v and y exist,
            // and those of y are this task's own.
            unsafe {
                let weights = kept.map_or(own, |kept| kept.at(task * square).cast());
                clear_rows(weights.wrapping_add(keys), 0..tq, tk, tk - keys);
                let k = Transposed {
                    rows: keys,
                    cols: head,
                    from: k.at(row, h * head),
                    from_row: k.row,
                    to: transposed,
                    to_row: padded,
                };
                self.isa.run(k);
                self.isa.run(AttentionProduct {
                    m: tq,
                    n: keys,
                    k: head,
                    a: q.at(row, h * head),
                    a_strides: (q.row, 1),
                    b: transposed,
                    b_row: padded,
                    c: weights,
                    c_row: tk,
                });
                // The product has written the columns that were not cleared.
                let values = std::slice::from_raw_parts_mut(weights, square);
                soften(values, tk, self.sizes.scale(), self.visible(row));
                let weights = self.after_dropout(task, values, dropped);
                self.isa.run(AttentionProduct {
                    m: tq,
                    n: head_v,
                    k: keys,
                    a: weights,
                    a_strides: (tk, 1),
                    b: v.at(row, h * head_v),
                    b_row: v.row,
                    c: y.at(row * tq * self.sizes.d_v() + h * head_v).cast(),
                    c_row: self.sizes.d_v(),
                });
            }
        });
    }

    /// All heads of batch row `row`, whose only query it is: nothing is transposed, and each key is
    /// read once.
    fn one_query(&self, row: usize, [q, k, v]: &[View; 3], y: &Parts<MaybeUninit<f32>>) {
        let Sizes { tk, heads, head, head_v, .. } = self.sizes;
        let keys = self.visible(row).of(0);
        with_lines(&WORKSPACE, heads * tk.div_ceil(LINE), |weights| {
            let each = tk.next_multiple_of(LINE);
            // SAFETY: the scratch memory holds `each` weights a head; the row of y is this task's
            // own.
            unsafe {
                self.isa.run(Scores {
                    heads,
                    head,
                    keys,
                    q: q.at(row, 0),
                    k: k.at(row, 0),
                    k_row: k.row,
                    to: weights,
                    to_row: each,
                });
                let y = y.at(row * self.sizes.d_v()).cast::<f32>();
                for h in 0..heads {
                    let weights = weights.wrapping_add(h * each);
                    soften(
                        std::slice::from_raw_parts_mut(weights, keys),
                        keys,
                        self.sizes.scale(),
                        Visible { keys, first: keys, step: 0 },
                    );
                    self.isa.run(AttentionProduct {
                        m: 1,
                        n: head_v,
                        k: keys,
                        a: weights,
                        a_strides: (0, 1),
                        b: v.at(row, h * head_v),
                        b_row: v.row,
                        c: y.wrapping_add(h * head_v),
                        c_row: 0,
                    });
                }
            }
        });
    }

    fn visible(&self, row: usize) -> Visible {
        let keys = self.seen.keys[row];
        if self.seen.causal {
            Visible { keys, first: self.sizes.tk - self.sizes.tq + 1, step: 1 }
        } else {
            Visible { keys, first: keys, step: 0 }
        }
    }

    /// The weights of a task behind the dropout: themselves, or a copy at `to`.
    ///
    /// # Safety
    /// `to` is writable for as many values.
    unsafe fn after_dropout(&self, task: usize, weights: &[f32], to: *mut f32) -> *const f32 {
        let Some(dropout) = &self.dropout else { return weights.as_ptr() };
        // SAFETY: the caller's promise.
        let copy = unsafe {
            std::ptr::copy_nonoverlapping(weights.as_ptr(), to, weights.len());
            std::slice::from_raw_parts_mut(to, weights.len())
        };
        drop_out_in_place(dropout, (task * weights.len()) as u64, copy);
        to
    }

    /// The gradients of one head, each to its columns of the part that is given, if it is wanted.
    fn head_gradient(
        &self,
        task: usize,
        [q, k, v]: &[View; 3],
        weights: &[f32],
        grad: &[f32],
        to: &[Option<Parts<MaybeUninit<f32>>>; 3],
    ) {
        let Sizes { tq, tk, heads, head, head_v, .. } = self.sizes;
        let (d, d_v) = (self.sizes.d(), self.sizes.d_v());
        let (row, h, square) = (task / heads, task % heads, self.sizes.square());
        let (keys, padded) = (self.seen.keys[row], tk.next_multiple_of(LINE));
        let weights = &weights[task * square..][..square];
        let grad = grad[row * tq * d_v + h * head_v..].as_ptr();
        let columns = |parts: &Parts<MaybeUninit<f32>>, t: usize, d: usize, head: usize| {
            parts.at(row * t * d + h * head).cast::<f32>()
        };
        with_lines(&WORKSPACE, padded * head_v / LINE + 2 * square.div_ceil(LINE), |scratch| {
            let transposed = scratch;
            let slopes = scratch.wrapping_add(padded * head_v);
            let dropped = slopes.wrapping_add(square.next_multiple_of(LINE));
            // SAFETY: the scratch memory holds the transposed values and twice the weights; the
            // head's columns exist in all tensors.
            unsafe {
                if let Some(dv) = &to[2] {
                    let dv = columns(dv, tk, d_v, head_v);
                    let a = self.after_dropout(task, weights, dropped);
                    clear_rows(dv, keys..tk, d_v, head_v);
                    self.isa.run(AttentionProduct {
                        m: keys,
                        n: head_v,
                        k: tq,
                        a,
                        a_strides: (1, tk),
                        b: grad,
                        b_row: d_v,
                        c: dv,
                        c_row: d_v,
                    });
                }
                if to[0].is_none() && to[1].is_none() {
                    return;
                }
                let from = v.at(row, h * head_v);
                self.isa.run(Transposed {
                    rows: keys,
                    cols: head_v,
                    from,
                    from_row: v.row,
                    to: transposed,
                    to_row: padded,
                });
                clear_rows(slopes.wrapping_add(keys), 0..tq, tk, tk - keys);
                self.isa.run(AttentionProduct {
                    m: tq,
                    n: keys,
                    k: head_v,
                    a: grad,
                    a_strides: (d_v, 1),
                    b: transposed,
                    b_row: padded,
                    c: slopes,
                    c_row: tk,
                });
                let slope = std::slice::from_raw_parts_mut(slopes, square);
                if let Some(dropout) = &self.dropout {
                    drop_out_in_place(dropout, (task * square) as u64, slope);
                }
                soften_gradient(slope, weights, tk, self.sizes.scale());
                if let Some(dq) = &to[0] {
                    let c = columns(dq, tq, d, head);
                    let b = k.at(row, h * head);
                    self.isa.run(AttentionProduct {
                        m: tq,
                        n: head,
                        k: keys,
                        a: slopes,
                        a_strides: (tk, 1),
                        b,
                        b_row: k.row,
                        c,
                        c_row: d,
                    });
                }
                if let Some(dk) = &to[1] {
                    let dk = columns(dk, tk, d, head);
                    clear_rows(dk, keys..tk, d, head);
                    let (b, c) = (q.at(row, h * head), dk);
                    self.isa.run(AttentionProduct {
                        m: keys,
                        n: head,
                        k: tq,
                        a: slopes,
                        a_strides: (1, tk),
                        b,
                        b_row: q.row,
                        c,
                        c_row: d,
                    });
                }
            }
        });
    }
}

impl Backward for SavedWeights {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let op = &self.op;
        let Sizes { b, tq, tk, heads, .. } = op.sizes;
        let grad = sum(grad)?;
        let grad = grad.values()?;
        let grad: &[f32] = &grad;
        let (qs, ks, vs) =
            (op.q.storage_and_layout().0, op.k.storage_and_layout().0, op.v.storage_and_layout().0);
        let views = op.views(&qs, &ks, &vs)?;
        let lens = [b * tq * op.sizes.d(), b * tk * op.sizes.d(), b * tk * op.sizes.d_v()];
        let lens: [usize; 3] = std::array::from_fn(|i| if wanted[i] { lens[i] } else { 0 });
        let pass = |dq: &mut [MaybeUninit<f32>],
                    dk: &mut [MaybeUninit<f32>],
                    dv: &mut [MaybeUninit<f32>]| {
            let parts = [Parts::of(dq), Parts::of(dk), Parts::of(dv)];
            let to: [Option<Parts<_>>; 3] = std::array::from_fn(|i| wanted[i].then_some(parts[i]));
            tasks(b * heads, |task| op.head_gradient(task, &views, &self.weights, grad, &to));
        };
        // SAFETY: the tasks cover all heads of all rows, and each writes its columns of what is
        // wanted.
        let (dq, (dk, (dv, ()))) = unsafe {
            written(lens[0], |dq| {
                written(lens[1], |dk| {
                    written(lens[2], |dv| {
                        pass(dq, dk, dv);
                    })
                })
            })
        };
        Ok([dq, dk, dv]
            .into_iter()
            .zip(wanted)
            .map(|(grad, &wanted)| wanted.then_some(Grad::Owned(grad)))
            .collect())
    }
}

/// Clears the `head` values of these rows, `d` apart.
///
/// # Safety
/// They are writable, and nothing else refers to them.
unsafe fn clear_rows(to: *mut f32, rows: Range<usize>, d: usize, head: usize) {
    for row in rows {
        // SAFETY: the caller's promise; all bits 0 are the value 0.
        unsafe { std::ptr::write_bytes(to.wrapping_add(row * d), 0, head) }
    }
}
