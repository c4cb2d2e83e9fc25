//! Nodes, and the tokens that Candle sees of them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor,
    TensorId, bail,
};

use super::grad::{Grad, sum};
use super::sink::{deposit, frees_activations};

/// The backward pass of a recorded op.
pub(crate) trait Backward: Send + Sync + 'static {
    /// The gradients of the inputs, in the order in which they were recorded, for the gradient of
    /// the result. `y` is the result, if it was to be kept. An input that is not `wanted` may
    /// get `None`.
    fn backward(
        &self,
        y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>>;

    /// Whether the op stays for a further pass when [`crate::backward`] has walked it; the others
    /// go, with what they have kept.
    fn stays(&self) -> bool {
        false
    }
}

/// The tensor of `values` and `shape` as the result of an op on `inputs`. `op` makes its backward
/// pass, where an input tracks gradients; what it keeps must be detached, or a tensor would hold
/// itself. `keep` says whether that pass needs the result.
pub(crate) fn record<B: Backward>(
    inputs: &[&Tensor],
    values: Vec<f32>,
    shape: impl Into<Shape>,
    keep: bool,
    op: impl FnOnce() -> Result<B>,
) -> Result<Tensor> {
    let shape = shape.into();
    if !inputs.iter().any(|t| t.track_op()) {
        return Tensor::from_vec(values, shape, &Device::Cpu);
    }
    let mut tokens = Vec::new();
    let mut slots = Vec::with_capacity(inputs.len());
    for input in inputs {
        slots.push(if input.track_op() {
            let (token, slot) = producer(input)?;
            tokens.push(token);
            Some(slot)
        } else {
            None
        });
    }
    let slot = Arc::new(Slot::default());
    let y = Arc::new(OnceLock::new());
    let node = Node {
        slot: slot.clone(),
        inputs: slots,
        y: y.clone(),
        op: Mutex::new(Some(Box::new(op()?))),
    };
    while tokens.len() > 3 {
        let last = tokens.split_off(tokens.len() - 3);
        tokens.push(last[0].apply_op3(&last[1], &last[2], Walk(None))?);
    }
    let token = match &tokens[..] {
        [a] => a.apply_op1(Walk(Some(node)))?,
        [a, b] => a.apply_op2(b, Walk(Some(node)))?,
        [a, b, c] => a.apply_op3(b, c, Walk(Some(node)))?,
        _ => bail!("graph: expected 1 to 3 tokens, got {}", tokens.len()),
    };
    let id = Arc::new(OnceLock::new());
    let result = token.apply_op1(Exit {
        values: Mutex::new(Some((values, shape))),
        slot: slot.clone(),
        id: id.clone(),
    })?;
    if keep {
        let _ = y.set(result.detach());
    }
    let _ = id.set(result.id());
    locked(&PRODUCERS).insert(result.id(), (token, slot));
    Ok(result)
}

/// Where the parts of one gradient gather until its node is walked.
#[derive(Default)]
struct Slot(Mutex<Vec<Grad>>);

impl Slot {
    fn push(&self, part: Grad) {
        locked(&self.0).push(part);
    }

    fn take(&self) -> Vec<Grad> {
        std::mem::take(&mut locked(&self.0))
    }
}

type Producers = HashMap<TensorId, (Tensor, Arc<Slot>)>;

/// The token and the slot of each living tensor that [`record`] made.
static PRODUCERS: LazyLock<Mutex<Producers>> = LazyLock::new(Mutex::default);

/// Nothing panics while a lock is held, and what they hold is whole at any time.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The token and the slot of a tensor that tracks gradients: those of its node, or new ones that
/// hand the gradient to Candle.
fn producer(input: &Tensor) -> Result<(Tensor, Arc<Slot>)> {
    if let Some((token, slot)) = locked(&PRODUCERS).get(&input.id()) {
        return Ok((token.clone(), slot.clone()));
    }
    let slot = Arc::new(Slot::default());
    Ok((input.apply_op1(Entry(slot.clone()))?, slot))
}

/// What Candle sees of a node or of its gradient.
fn token_storage() -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![0.0]), Shape::from(1))
}

fn token_gradient() -> Result<Option<Tensor>> {
    Tensor::zeros(1, DType::F32, &Device::Cpu).map(Some)
}

/// From a tensor of Candle's into the tokens.
struct Entry(Arc<Slot>);

impl CustomOp1 for Entry {
    fn name(&self) -> &'static str {
        "graph-entry"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(token_storage())
    }

    fn bwd(&self, input: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        match self.0.take() {
            parts if parts.is_empty() => Ok(None),
            parts => deposit(input, sum(parts)?),
        }
    }
}

/// From the tokens to the tensor that Candle's ops and the caller see.
struct Exit {
    values: Mutex<Option<(Vec<f32>, Shape)>>,
    slot: Arc<Slot>,
    id: Arc<OnceLock<TensorId>>,
}

impl CustomOp1 for Exit {
    fn name(&self) -> &'static str {
        "graph-exit"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        match locked(&self.values).take() {
            Some((values, shape)) => Ok((CpuStorage::F32(values), shape)),
            None => bail!("graph-exit: applied twice"),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        self.slot.push(Grad::Shared(grad.contiguous()?));
        token_gradient()
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            // Bound, so that the lock is free when the token is dropped, which may drop further
            // tensors.
            let _gone = locked(&PRODUCERS).remove(id);
        }
    }
}

struct Node {
    slot: Arc<Slot>,
    /// Where the gradient of each input goes, if it is wanted.
    inputs: Vec<Option<Arc<Slot>>>,
    y: Arc<OnceLock<Tensor>>,
    op: Mutex<Option<Box<dyn Backward>>>,
}

impl Node {
    fn walk(&self) -> Result<()> {
        let mut op = locked(&self.op);
        let Some(backward) = &*op else {
            bail!("backward: this graph was walked before, and what it had kept for that is freed");
        };
        let wanted: Vec<bool> = self.inputs.iter().map(Option::is_some).collect();
        let grads = backward.backward(self.y.get(), self.slot.take(), &wanted)?;
        for (slot, grad) in self.inputs.iter().zip(grads) {
            if let (Some(slot), Some(grad)) = (slot, grad) {
                slot.push(grad);
            }
        }
        if frees_activations() && !backward.stays() {
            *op = None;
        }
        Ok(())
    }
}

/// A node as Candle sees it: tokens in, a token out. Without a node, it joins tokens.
struct Walk(Option<Node>);

impl Walk {
    const NAME: &'static str = "graph-node";

    fn walk(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), Node::walk)
    }
}

impl CustomOp1 for Walk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(token_storage())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        self.walk()?;
        token_gradient()
    }
}

impl CustomOp2 for Walk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(token_storage())
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.walk()?;
        Ok((token_gradient()?, token_gradient()?))
    }
}

impl CustomOp3 for Walk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(token_storage())
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        self.walk()?;
        Ok((token_gradient()?, token_gradient()?, token_gradient()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An op whose result and gradient are copies.
    struct Copied;

    impl Backward for Copied {
        fn backward(
            &self,
            _y: Option<&Tensor>,
            grad: Vec<Grad>,
            _wanted: &[bool],
        ) -> Result<Vec<Option<Grad>>> {
            Ok(vec![Some(sum(grad)?)])
        }
    }

    fn copied(x: &Tensor) -> Tensor {
        record(&[x], super::super::values(x).unwrap().to_vec(), x.shape(), false, || Ok(Copied))
            .unwrap()
    }

    #[test]
    fn a_tensor_leaves_the_table_of_producers_when_it_is_dropped() {
        let x = candle_core::Var::zeros(4, DType::F32, &Device::Cpu).unwrap();
        let y = copied(&x);
        let z = copied(&y);
        let ids = [y.id(), z.id()];
        let known = || ids.map(|id| locked(&PRODUCERS).contains_key(&id));
        assert_eq!(known(), [true, true]);
        drop(y);
        assert_eq!(known(), [false, true]);
        assert!(crate::backward(&z.sum_all().unwrap()).unwrap().get(&x).is_some());
        drop(z);
        assert_eq!(known(), [false, false]);
    }
}
