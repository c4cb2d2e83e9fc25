//! Where this crate's ops leave the gradients of variables while a backward pass runs on their
//! thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use candle_core::{Result, Shape, Tensor, TensorId};

use super::grad::{Grad, sum};

thread_local! {
    /// The sink of the backward pass that runs on this thread, if one does.
    static SINK: RefCell<Option<Sink>> = const { RefCell::new(None) };
    /// Whether that pass walks its graph for the last time.
    static LAST: Cell<bool> = const { Cell::new(false) };
}

pub(super) type Sink = HashMap<TensorId, (Grad, Shape)>;

/// The time of one backward pass on this thread. Dropping it, also by an error or a panic, puts
/// back the sink that was there.
pub(super) struct Scope {
    outer: (Option<Sink>, bool),
}

impl Scope {
    /// `last`: the graph is not walked again.
    pub(super) fn open(last: bool) -> Self {
        Self { outer: (SINK.replace(Some(Sink::new())), LAST.replace(last)) }
    }

    pub(super) fn close(self) -> Sink {
        SINK.take().unwrap_or_default()
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        SINK.set(self.outer.0.take());
        LAST.set(self.outer.1);
    }
}

/// Whether what a node has kept for its backward pass goes when it is walked: inside
/// [`super::backward`], which walks a graph for the last time.
pub(crate) fn frees_activations() -> bool {
    LAST.get()
}

/// What an op's `bwd` should return for its argument `arg` whose gradient is `grad`: `None` if a
/// sink has taken the gradient, and otherwise the gradient itself.
///
/// Only gradients of variables are taken: Candle needs the others to go on with the pass. `arg`
/// deposited twice is summed in the order of the deposits, in place.
pub(crate) fn deposit(arg: &Tensor, grad: Grad) -> Result<Option<Tensor>> {
    let Some(before) = withdraw(arg) else { return grad.into_tensor(arg.shape()).map(Some) };
    let grad = match before {
        Some(before) => sum(vec![before, grad])?,
        None => grad,
    };
    put(arg, grad);
    Ok(None)
}

/// Lets `add` add a gradient to the deposit of the variable `arg`, f32 on the CPU, which is zero at
/// first. False, without a call, where no sink runs or `arg` is not a variable.
///
/// For a gradient that is zero but for a few rows, as that of an embedding's table, this spares the
/// table of zeros and the sum with what another use of the same variable has left.
pub(crate) fn deposit_in_place(arg: &Tensor, add: impl FnOnce(&mut [f32])) -> Result<bool> {
    let Some(before) = withdraw(arg) else { return Ok(false) };
    let mut values = match before {
        Some(before) => before.into_vec()?,
        None => vec![0f32; arg.elem_count()],
    };
    add(&mut values);
    put(arg, Grad::Owned(values));
    Ok(true)
}

/// Takes what `arg` has in the sink out of it, so that sums are taken while nothing is borrowed: a
/// thread that waits for others may be given a backward pass of its own by rayon. `None` where no
/// sink runs or `arg` is not a variable.
fn withdraw(arg: &Tensor) -> Option<Option<Grad>> {
    if !arg.is_variable() {
        return None;
    }
    SINK.with_borrow_mut(|sink| {
        sink.as_mut().map(|sink| sink.remove(&arg.id()).map(|(grad, _)| grad))
    })
}

fn put(arg: &Tensor, grad: Grad) {
    SINK.with_borrow_mut(|sink| {
        if let Some(sink) = sink {
            sink.insert(arg.id(), (grad, arg.shape().clone()));
        }
    });
}
