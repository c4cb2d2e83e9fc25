//! Optimisers over named parameters, with state that a checkpoint can hold.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use kd_kernels::adam::{AdamConfig, AdamState, Decay};
use kd_kernels::backward::Gradients;
use kd_kernels::sgd::{SgdConfig, SgdState};
use serde::{Deserialize, Serialize};

use crate::params::Params;
use crate::{Error, Result};

/// Which optimiser, with its hyper-parameters, as an experiment file writes them. Definitions are PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum OptimizerSpec {
    /// Stochastic gradient descent; see [`kd_kernels::sgd`].
    Sgd {
        /// Momentum.
        momentum: f64,
        /// Whether the step looks ahead along the momentum.
        nesterov: bool,
        /// L2 decay, added to the gradient.
        weight_decay: f64,
    },
    /// Adam, or AdamW where the decay is decoupled; see [`kd_kernels::adam`].
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the denominator.
        epsilon: f64,
        /// L2 decay.
        weight_decay: f64,
        /// Whether the decay acts on the weight itself (AdamW) and not through the gradient.
        decoupled: bool,
    },
}

impl OptimizerSpec {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the one outside its domain.
    pub fn check(&self) -> Result<()> {
        let within = |name: &str, value: f64, top: f64| match (0. ..top).contains(&value) {
            true => Ok(()),
            false => Err(Error::bad_input(format!("optimizer: expected {name} in [0, {top}), got {value}"))),
        };
        match *self {
            Self::Sgd { momentum, weight_decay, .. } => {
                within("momentum", momentum, 1.)?;
                within("weight-decay", weight_decay, f64::INFINITY)
            }
            Self::Adam { beta1, beta2, epsilon, weight_decay, .. } => {
                within("beta1", beta1, 1.)?;
                within("beta2", beta2, 1.)?;
                within("epsilon", epsilon, f64::INFINITY)?;
                within("weight-decay", weight_decay, f64::INFINITY)
            }
        }
    }
}

/// One parameter's state.
enum Moments {
    Sgd(SgdState),
    Adam(AdamState),
}

struct Slot {
    name: String,
    var: Var,
    moments: Moments,
}

/// An optimiser at work on a set of parameters.
pub struct Optimizer {
    spec: OptimizerSpec,
    max_norm: Option<f64>,
    slots: Vec<Slot>,
}

impl Optimizer {
    /// An optimiser over all of `params`, with no history. Where `max_norm` is given, each row of every matrix is brought back
    /// to that L2 norm after a step that took it beyond (Hinton et al. 2012); biases are left alone.
    ///
    /// # Errors
    /// Bad input when a hyper-parameter is outside its domain.
    pub fn new(spec: &OptimizerSpec, max_norm: Option<f64>, params: &Params) -> Result<Self> {
        spec.check()?;
        if let Some(c) = max_norm
            && !(c.is_finite() && c > 0.)
        {
            return Err(Error::bad_input(format!("max-norm: expected a number above 0, got {c}")));
        }
        let slots = params.named().into_iter().map(|(name, var)| {
            let moments = match spec {
                OptimizerSpec::Sgd { .. } => Moments::Sgd(SgdState::new()),
                OptimizerSpec::Adam { .. } => Moments::Adam(AdamState::new()),
            };
            Slot { name, var, moments }
        });
        Ok(Self { spec: spec.clone(), max_norm, slots: slots.collect() })
    }

    /// One step at this learning rate. A parameter without a gradient stays as it is.
    ///
    /// # Errors
    /// When a gradient's shape is not its parameter's.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64) -> Result<()> {
        let lr = learning_rate;
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(slot.var.as_tensor()) else { continue };
            let max_norm = if slot.var.rank() == 2 { self.max_norm } else { None };
            match (&self.spec, &mut slot.moments) {
                (&OptimizerSpec::Sgd { momentum, nesterov, weight_decay }, Moments::Sgd(state)) => {
                    let config = SgdConfig { lr, momentum, nesterov, weight_decay, max_norm };
                    state.step(&slot.var, gradient, &config)?;
                }
                (&OptimizerSpec::Adam { beta1, beta2, epsilon, weight_decay, decoupled }, Moments::Adam(state)) => {
                    let decay = if decoupled { Decay::Decoupled(weight_decay) } else { Decay::L2(weight_decay) };
                    let config = AdamConfig { lr, beta1, beta2, eps: epsilon, decay };
                    state.step(&slot.var, gradient, &config)?;
                    if let Some(c) = max_norm {
                        kd_kernels::max_norm::max_norm(&slot.var, c)?;
                    }
                }
                _ => unreachable!("slots are made from the spec"),
            }
        }
        Ok(())
    }

    /// The state as named tensors: `{parameter}.momentum`, or `{parameter}.first`, `.second` and `.steps`.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = BTreeMap::new();
        for Slot { name, var, moments } in &self.slots {
            match moments {
                Moments::Sgd(state) => {
                    if let Some(v) = state.momentum()? {
                        tensors.insert(format!("{name}.momentum"), v);
                    }
                }
                Moments::Adam(state) => {
                    if let (Some(m), Some(v)) = (state.m()?, state.v()?) {
                        tensors.insert(format!("{name}.first"), m);
                        tensors.insert(format!("{name}.second"), v);
                        tensors.insert(format!("{name}.steps"), Tensor::new(&[state.t() as i64], var.device())?);
                    }
                }
            }
        }
        Ok(tensors)
    }

    /// Sets the state that [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// Bad input when an entry is missing.
    pub fn set_state(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        for Slot { name, moments, .. } in &mut self.slots {
            let part = |what: &str| tensors.get(&format!("{name}.{what}"));
            match moments {
                Moments::Sgd(state) => *state = part("momentum").cloned().map(SgdState::from_momentum).unwrap_or_default(),
                Moments::Adam(state) => match (part("first"), part("second"), part("steps")) {
                    (Some(m), Some(v), Some(t)) => {
                        let steps = t.to_vec1::<i64>()?.first().copied().unwrap_or_default();
                        *state = AdamState::from_moments(m.clone(), v.clone(), steps as u64);
                    }
                    (None, None, None) => *state = AdamState::new(),
                    _ => return Err(Error::bad_input(format!("the optimiser's state of {name} is incomplete"))),
                },
            }
        }
        Ok(())
    }
}
