//! Named parameters: trainable ones, made by name from a seed, and those of a checkpoint, which
//! must fit exactly.
//!
//! Both come as a [`candle_nn::VarBuilder`], so one constructor serves a student that trains and a
//! teacher that does not.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::torch_checkpoint::value::brief;
use crate::{Error, Result, Seed, init};

/// The parameters of a network, which train, and its buffers, which do not, sorted by name.
///
/// A buffer is a running statistic of a batch-norm or a memory of a method, declared when it is
/// made (see [`buffer`]): it moves with training, and it belongs to a network's file, but no
/// optimiser, decay or cap on weights may touch it, and it is not counted as a parameter.
///
/// Candle's own `VarMap` is a hash map whose order changes from process to process and whose
/// initial values cannot be seeded; this one is ordered and draws each value from the stream of its
/// name.
#[derive(Clone, Default)]
pub struct Params {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
}

#[derive(Clone)]
struct Entry {
    var: Var,
    buffer: bool,
}

impl Params {
    /// No parameters, and the builder that makes them: each `get` draws an initial value from
    /// `seed` and the name.
    pub fn seeded(seed: Seed, device: &Device) -> (Self, VarBuilder<'static>) {
        let params = Self::default();
        let backend = Seeded { seed, params: params.clone() };
        (params, VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // A panic elsewhere cannot leave the map half changed: entries are inserted whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_kind(&self, buffer: bool) -> Vec<(String, Var)> {
        self.lock()
            .iter()
            .filter(|(_, entry)| entry.buffer == buffer)
            .map(|(n, entry)| (n.clone(), entry.var.clone()))
            .collect()
    }

    /// The parameters with their names, in the order of the names, without the buffers.
    pub fn named(&self) -> Vec<(String, Var)> {
        self.of_kind(false)
    }

    /// The buffers with their names, in the order of the names.
    pub fn buffers(&self) -> Vec<(String, Var)> {
        self.of_kind(true)
    }

    /// The parameter or buffer of this name, if it was made.
    pub fn get(&self, name: &str) -> Option<Var> {
        self.lock().get(name).map(|entry| entry.var.clone())
    }

    /// Those whose names do not begin with `prefix`; they are shared, not copied. Without `method.`
    /// they are the network alone.
    pub fn without(&self, prefix: &str) -> Self {
        let kept = self
            .lock()
            .iter()
            .filter(|(name, _)| !name.starts_with(prefix))
            .map(|(n, e)| (n.clone(), e.clone()))
            .collect();
        Self { entries: Arc::new(Mutex::new(kept)) }
    }

    /// How many numbers the parameters hold, without the buffers.
    pub fn count(&self) -> usize {
        self.named().iter().map(|(_, var)| var.elem_count()).sum()
    }

    /// Copies of the current values of parameters and buffers, by name.
    ///
    /// # Errors
    /// When a copy fails.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.lock()
            .iter()
            .map(|(n, entry)| Ok((n.clone(), entry.var.as_detached_tensor().copy()?)))
            .collect()
    }

    /// Sets every parameter and every buffer from `tensors`.
    ///
    /// # Errors
    /// Bad input that names missing, extra or misshaped entries; nothing is set then.
    pub fn set(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let entries = self.lock();
        let wanted =
            entries.iter().map(|(n, entry)| (n.clone(), entry.var.shape().clone())).collect();
        fits(&wanted, tensors)?;
        for (name, Entry { var, .. }) in entries.iter() {
            if let Some(value) = tensors.get(name) {
                var.set(&value.to_device(var.device())?.to_dtype(var.dtype())?)?;
            }
        }
        Ok(())
    }
}

thread_local! {
    /// Whether the tensor that is asked for on this thread is declared a buffer. [`candle_nn::VarBuilder`] has no word for it.
    static DECLARES_BUFFER: Cell<bool> = const { Cell::new(false) };
}

/// Asks `vb` for a tensor that moves with training and does not train: see [`Params`]. `init` says
/// how it begins.
///
/// # Errors
/// When there is no such tensor, or it has another shape.
pub fn buffer(vb: &VarBuilder, shape: impl Into<Shape>, name: &str, init: Init) -> Result<Tensor> {
    let outer = DECLARES_BUFFER.replace(true);
    let made = vb.get_with_hints(shape.into(), name, init);
    DECLARES_BUFFER.set(outer);
    Ok(made?)
}

/// Whether a name in a network's file is that of a buffer: its last part is `running_mean` or
/// `running_var`, as PyTorch's batch-norms call them. Files do not say which of their tensors are
/// buffers; of those in [`Params`] it is known.
pub fn is_buffer(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("running_mean" | "running_var"))
}

/// Builds something from a checkpoint's tensors as constants: no variables, so nothing that an
/// optimiser could be handed.
///
/// # Errors
/// Bad input when `build` refuses what it is asked for; when entries are missing, extra or
/// misshaped, with the names of some; and as [`check_values`].
pub fn build_frozen<M>(
    tensors: BTreeMap<String, Tensor>,
    device: &Device,
    build: impl FnOnce(VarBuilder<'static>) -> Result<M>,
) -> Result<M> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::new(tensors);
    let backend = Constant { tensors: shared.clone(), asked: asked.clone() };
    let built = build(VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone()));
    // What is wrong with the description itself explains more than the tensors that do not fit it.
    if let Err(e @ Error::BadInput(_)) = built {
        return Err(e);
    }
    let wanted = asked.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
    fits(&wanted, &shared)?;
    check_values(&shared)?;
    built
}

/// The names and shapes of the tensors that `build` asks for, in the order in which it does.
///
/// # Errors
/// Those of `build`.
pub fn shapes_of<M>(
    build: impl FnOnce(VarBuilder<'static>) -> Result<M>,
) -> Result<Vec<(String, Shape)>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let backend = Constant { tensors: Arc::default(), asked: asked.clone() };
    build(VarBuilder::from_backend(Box::new(backend), DType::F32, Device::Cpu))?;
    let mut seen = BTreeSet::new();
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(asked.drain(..).filter(|(name, _)| seen.insert(name.clone())).collect())
}

/// Fails unless every number is finite and no running variance is negative: a file with others
/// holds no network that computes anything.
///
/// # Errors
/// Bad input that names the first tensor with such a number.
pub fn check_values(tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    for (name, tensor) in tensors.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
        let values = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let refuse = |expected: &str, got: &f64| {
            Err(Error::bad_input(format!("{}: expected {expected}, got {got}", brief(name))))
        };
        if let Some(got) = values.iter().find(|value| !value.is_finite()) {
            return refuse("finite numbers", got);
        }
        let is_variance = name.rsplit('.').next() == Some("running_var");
        if let Some(got) = values.iter().find(|value| is_variance && **value < 0.) {
            return refuse("variances of 0 or more", got);
        }
    }
    Ok(())
}

/// Compares the shapes a network asks for with those of a checkpoint.
fn fits(wanted: &BTreeMap<String, Shape>, found: &BTreeMap<String, Tensor>) -> Result<()> {
    let wanted = wanted.iter().map(|(name, shape)| (&**name, shape.dims()));
    let found = found.iter().map(|(name, t)| (&**name, t.dims()));
    match misfits(wanted.collect(), found.collect()) {
        faults if faults.is_empty() => Ok(()),
        faults => {
            let some = kd_base::message::some(&faults);
            Err(Error::bad_input(format!("the checkpoint is of another network: {some}")))
        }
    }
}

/// What is of another shape, missing and extra, in this order, for a message.
pub(crate) fn misfits(
    wanted: BTreeMap<&str, &[usize]>,
    found: BTreeMap<&str, &[usize]>,
) -> Vec<String> {
    let other = wanted.iter().filter_map(|(name, w)| {
        let f = found.get(name).filter(|f| *f != w)?;
        Some(format!("{}: expected {w:?}, got {f:?}", brief(name)))
    });
    let missing = wanted.iter().filter(|(name, _)| !found.contains_key(*name));
    let extra = found.iter().filter(|(name, _)| !wanted.contains_key(*name));
    other
        .chain(missing.map(|(name, w)| format!("missing {} {w:?}", brief(name))))
        .chain(extra.map(|(name, f)| format!("extra {} {f:?}", brief(name))))
        .collect()
}

struct Seeded {
    seed: Seed,
    params: Params,
}

impl SimpleBackend for Seeded {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        hint: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut entries = self.params.lock();
        if let Some(Entry { var, .. }) = entries.get(name) {
            if var.shape() != &shape {
                candle_core::bail!(
                    "parameter {name} asked for with shape {:?}, made with {:?}",
                    shape.dims(),
                    var.dims()
                );
            }
            return Ok(var.as_tensor().clone());
        }
        let var = Var::from_tensor(&init::draw(hint, name, &shape, self.seed, dtype, device)?)?;
        let tensor = var.as_tensor().clone();
        entries.insert(name.to_owned(), Entry { var, buffer: DECLARES_BUFFER.get() });
        Ok(tensor)
    }

    fn get_unchecked(
        &self,
        name: &str,
        _dtype: DType,
        _device: &Device,
    ) -> candle_core::Result<Tensor> {
        candle_core::bail!("parameter {name} asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.params.lock().contains_key(name)
    }
}

/// Whether a machine word counts the bytes of numbers in this shape.
fn is_countable(shape: &Shape) -> bool {
    shape.dims().iter().try_fold(8usize, |n, &side| n.checked_mul(side.max(1))).is_some()
}

struct Constant {
    tensors: Arc<BTreeMap<String, Tensor>>,
    asked: Arc<Mutex<Vec<(String, Shape)>>>,
}

impl SimpleBackend for Constant {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _hint: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.to_owned(), shape.clone()));
        match self.tensors.get(name) {
            Some(t) if t.shape() == &shape => t.to_dtype(dtype)?.to_device(device),
            // What does not fit is reported whole once the network is built; until then any values
            // of the shape will do. They are one number in all places: a forged description can ask
            // for more of them than there is memory.
            _ if !is_countable(&shape) => {
                candle_core::bail!("parameter {name} asked for with shape {:?}", shape.dims())
            }
            _ => Tensor::zeros((), dtype, device)?.broadcast_as(shape),
        }
    }

    fn get_unchecked(
        &self,
        name: &str,
        _dtype: DType,
        _device: &Device,
    ) -> candle_core::Result<Tensor> {
        candle_core::bail!("parameter {name} asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
