//! Candle's backward pass, without its detour for the gradients of parameters.
//!
//! [`Tensor::backward`] begins every gradient with zeros and adds to them, each time in fresh memory and on one thread. For a
//! weight of megabytes that costs more than the product that gave the gradient. Inside [`backward`], the ops of this crate
//! hand the gradient of a variable over as it is; outside, under Candle's own backward, they return it the usual way.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId};

thread_local! {
    /// The gradients handed over so far, while a [`backward`] runs on this thread.
    static SINK: RefCell<Option<HashMap<TensorId, Tensor>>> = const { RefCell::new(None) };
}

/// The gradients of a loss with respect to the variables that it depends on.
pub struct Gradients {
    handed_over: HashMap<TensorId, Tensor>,
    returned: GradStore,
}

impl Gradients {
    /// The gradient of `var`, detached and of its shape; none where the loss does not depend on it.
    pub fn get(&self, var: &Tensor) -> Option<&Tensor> {
        self.handed_over.get(&var.id()).or_else(|| self.returned.get(var))
    }

    /// [`Gradients::get`], taking the gradient out.
    pub fn remove(&mut self, var: &Tensor) -> Option<Tensor> {
        let returned = self.returned.remove(var);
        self.handed_over.remove(&var.id()).or(returned)
    }
}

/// The gradients of the scalar `loss`: what [`Tensor::backward`] computes, and for variables used by the ops of this crate
/// without the zero-filled copies.
///
/// # Errors
/// Where an op in the graph has no backward, and as Candle's ops do.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// let w = Var::new(&[[1f32, 2.]], &Device::Cpu)?;
/// let x = Tensor::new(&[[3f32, 4.]], &Device::Cpu)?;
/// let y = kd_kernels::linear::linear(&x, &w, None, kd_kernels::linear::Activation::None)?;
/// let gradients = kd_kernels::backward::backward(&y.sum_all()?)?;
/// assert_eq!(gradients.get(&w).unwrap().to_vec2::<f32>()?, [[3., 4.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn backward(loss: &Tensor) -> Result<Gradients> {
    let scope = Scope::open();
    let mut returned = loss.backward()?;
    let mut handed_over = scope.close();
    // A variable may be used by an op of this crate and by one of Candle's: its gradient is the sum of both parts.
    for (id, part) in &mut handed_over {
        if let Some(other) = returned.get_id(*id) {
            *part = (&*part + other)?.detach();
            returned.insert_id(*id, part.clone());
        }
    }
    Ok(Gradients { handed_over, returned })
}

/// For an op's `bwd`: keeps `grad` for the variable `arg` where a [`backward`] runs on this thread, and gives it back, to be
/// returned to Candle, otherwise.
pub(crate) fn hand_over(arg: &Tensor, grad: Tensor) -> Result<Option<Tensor>> {
    if !arg.is_variable() {
        return Ok(Some(grad));
    }
    SINK.with_borrow_mut(|sink| {
        let Some(sink) = sink else { return Ok(Some(grad)) };
        let sum = match sink.remove(&arg.id()) {
            Some(before) => (before + &grad)?.detach(),
            None => grad.detach(),
        };
        sink.insert(arg.id(), sum);
        Ok(None)
    })
}

/// Opens the sink, and empties it however the backward pass ends. A pass within a pass (from an op's own `bwd`) gets a sink of
/// its own and puts the outer one back.
struct Scope {
    outer: Option<HashMap<TensorId, Tensor>>,
}

impl Scope {
    fn open() -> Self {
        Self { outer: SINK.replace(Some(HashMap::new())) }
    }

    fn close(self) -> HashMap<TensorId, Tensor> {
        // Dropping `self` at the end puts the outer sink back.
        SINK.take().unwrap_or_default()
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        SINK.set(self.outer.take());
    }
}
