//! Named parameters: trainable ones, made by name from a seed, and those of a checkpoint, which must fit exactly.
//!
//! Both come as a [`candle_nn::VarBuilder`], so one constructor serves a student that trains and a teacher that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::{Error, Result, Seed, init};

/// The parameters of a network, which train, and its buffers, which do not, sorted by name.
///
/// A buffer is a running statistic of a batch-norm, told by its name (see [`is_buffer`]): forward passes move it, and it belongs to a
/// network's file, but no optimiser, decay or cap on weights may touch it, and it is not counted as a parameter.
///
/// Candle's own `VarMap` is a hash map whose order changes from process to process and whose initial values cannot be
/// seeded; this one is ordered and draws each value from the stream of its name.
#[derive(Clone, Default)]
pub struct Params {
    vars: Arc<Mutex<BTreeMap<String, Var>>>,
}

impl Params {
    /// No parameters, and the builder that makes them: each `get` draws an initial value from `seed` and the name.
    pub fn seeded(seed: Seed, device: &Device) -> (Self, VarBuilder<'static>) {
        let params = Self::default();
        let backend = Seeded { seed, params: params.clone() };
        (params, VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        // A panic elsewhere cannot leave the map half changed: entries are inserted whole.
        self.vars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parameters with their names, in the order of the names, without the buffers.
    pub fn named(&self) -> Vec<(String, Var)> {
        self.lock().iter().filter(|(n, _)| !is_buffer(n)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// The buffers with their names, in the order of the names.
    pub fn buffers(&self) -> Vec<(String, Var)> {
        self.lock().iter().filter(|(n, _)| is_buffer(n)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// How many numbers the parameters hold, without the buffers.
    pub fn count(&self) -> usize {
        self.lock().iter().filter(|(n, _)| !is_buffer(n)).map(|(_, v)| v.elem_count()).sum()
    }

    /// Copies of the current values of parameters and buffers, by name.
    ///
    /// # Errors
    /// When a copy fails.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.lock().iter().map(|(n, v)| Ok((n.clone(), v.as_detached_tensor().copy()?))).collect()
    }

    /// Sets every parameter and every buffer from `tensors`.
    ///
    /// # Errors
    /// Bad input that names every missing, extra or misshaped entry; nothing is set then.
    pub fn set(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let vars = self.lock();
        let wanted = vars.iter().map(|(n, v)| (n.clone(), v.shape().clone())).collect();
        fits(&wanted, tensors)?;
        for (name, var) in vars.iter() {
            if let Some(value) = tensors.get(name) {
                var.set(&value.to_device(var.device())?.to_dtype(var.dtype())?)?;
            }
        }
        Ok(())
    }
}

/// Whether a name is that of a buffer: its last part is `running_mean` or `running_var`, as PyTorch's batch-norms call them.
pub fn is_buffer(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("running_mean" | "running_var"))
}

/// Builds something from a checkpoint's tensors as constants: no variables, so nothing that an optimiser could be handed.
///
/// # Errors
/// Bad input that names every missing, extra or misshaped entry.
pub fn build_frozen<M>(
    tensors: BTreeMap<String, Tensor>,
    device: &Device,
    build: impl FnOnce(VarBuilder<'static>) -> Result<M>,
) -> Result<M> {
    let asked = Arc::new(Mutex::new(BTreeMap::new()));
    let shared = Arc::new(tensors);
    let backend = Constant { tensors: shared.clone(), asked: asked.clone() };
    let built = build(VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone()));
    let wanted = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    fits(&wanted, &shared)?;
    built
}

/// Compares the shapes a network asks for with those of a checkpoint.
fn fits(wanted: &BTreeMap<String, Shape>, found: &BTreeMap<String, Tensor>) -> Result<()> {
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let faults: Vec<String> = names
        .into_iter()
        .filter_map(|name| match (wanted.get(name), found.get(name)) {
            (Some(w), None) => Some(format!("missing {name} {:?}", w.dims())),
            (None, Some(f)) => Some(format!("extra {name} {:?}", f.dims())),
            (Some(w), Some(f)) if w != f.shape() => Some(format!("{name}: expected {:?}, got {:?}", w.dims(), f.dims())),
            _ => None,
        })
        .collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::bad_input(format!("the checkpoint is of another network: {}", faults.join("; ")))),
    }
}

struct Seeded {
    seed: Seed,
    params: Params,
}

impl SimpleBackend for Seeded {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let mut vars = self.params.lock();
        if let Some(var) = vars.get(name) {
            if var.shape() != &shape {
                candle_core::bail!("parameter {name} asked for with shape {:?}, made with {:?}", shape.dims(), var.dims());
            }
            return Ok(var.as_tensor().clone());
        }
        let var = Var::from_tensor(&init::draw(hint, name, &shape, self.seed, dtype, device)?)?;
        let tensor = var.as_tensor().clone();
        vars.insert(name.to_owned(), var);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("parameter {name} asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.params.lock().contains_key(name)
    }
}

struct Constant {
    tensors: Arc<BTreeMap<String, Tensor>>,
    asked: Arc<Mutex<BTreeMap<String, Shape>>>,
}

impl SimpleBackend for Constant {
    fn get(&self, shape: Shape, name: &str, _hint: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), shape.clone());
        match self.tensors.get(name) {
            Some(t) if t.shape() == &shape => t.to_dtype(dtype)?.to_device(device),
            // What does not fit is reported whole once the network is built; until then any values of the shape will do.
            _ => Tensor::zeros(shape, dtype, device),
        }
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("parameter {name} asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
