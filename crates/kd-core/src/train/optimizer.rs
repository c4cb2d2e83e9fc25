//! Optimisers over named parameters, with state that a checkpoint can hold.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use kd_kernels::Gradients;
use kd_kernels::adam::{AdamConfig, AdamState, Decay};
use kd_kernels::sgd::{SgdConfig, SgdState};
use serde::{Deserialize, Serialize};

use crate::params::Params;
use crate::{Error, Result};

/// Which optimiser, with its hyper-parameters, as an experiment file writes them. Definitions are
/// PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
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
    /// "DOT: A Distillation-Oriented Trainer" (Zhao et al. 2023): SGD with a momentum for each of
    /// the two gradients of a distillation loss, `v_t ← (μ − Δ)·v_t + g_t + λ·w` of the labels'
    /// terms, `v_d ← (μ + Δ)·v_d + g_d` of the teacher's ([`Pull`](crate::method::Pull)), `w ←
    /// w − η·(v_t + v_d)`. Both begin at their first gradient.
    Dot {
        /// μ.
        momentum: f64,
        /// Δ, by which the two momenta differ from μ.
        delta: f64,
        /// λ: L2 decay, added to the gradient of the labels' terms.
        weight_decay: f64,
    },
}

impl OptimizerSpec {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the one outside its domain.
    pub fn check(&self) -> Result<()> {
        let within = |name: &str, value: f64, top: f64| {
            if (0. ..top).contains(&value) {
                Ok(())
            } else {
                Err(Error::bad_input(format!(
                    "optimizer: expected {name} in [0, {top}), got {value}"
                )))
            }
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
            Self::Dot { momentum, delta, weight_decay } => {
                within("delta", delta, 1.)?;
                within("momentum - delta", momentum - delta, 1.)?;
                within("momentum + delta", momentum + delta, 1.)?;
                within("weight-decay", weight_decay, f64::INFINITY)
            }
        }
    }

    /// Whether a step takes the gradients of the labels' and of the teacher's terms apart.
    pub fn splits(&self) -> bool {
        matches!(self, Self::Dot { .. })
    }
}

/// One parameter's state.
enum Moments {
    Sgd(SgdState),
    Adam(AdamState),
    Dot { task: SgdState, teacher: SgdState },
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
    /// An optimiser over all of `params` with no history: see [`Optimizer::over`].
    ///
    /// # Errors
    /// As [`Optimizer::over`].
    pub fn new(spec: &OptimizerSpec, max_norm: Option<f64>, params: &Params) -> Result<Self> {
        Self::over(spec, max_norm, params.named())
    }

    /// An optimiser over these parameters, with no history. Where `max_norm` is given, each row of
    /// every matrix is brought back to that L2 norm after a step that took it beyond (Hinton et
    /// al. 2012); biases are left alone.
    ///
    /// # Errors
    /// Bad input when a hyper-parameter is outside its domain.
    pub fn over(
        spec: &OptimizerSpec,
        max_norm: Option<f64>,
        named: Vec<(String, Var)>,
    ) -> Result<Self> {
        spec.check()?;
        if let Some(c) = max_norm
            && !(c.is_finite() && c > 0.)
        {
            return Err(Error::bad_input(format!("max-norm: expected a number above 0, got {c}")));
        }
        let slots = named.into_iter().map(|(name, var)| {
            let moments = match spec {
                OptimizerSpec::Sgd { .. } => Moments::Sgd(SgdState::new()),
                OptimizerSpec::Adam { .. } => Moments::Adam(AdamState::new()),
                OptimizerSpec::Dot { .. } => {
                    Moments::Dot { task: SgdState::new(), teacher: SgdState::new() }
                }
            };
            Slot { name, var, moments }
        });
        Ok(Self { spec: spec.clone(), max_norm, slots: slots.collect() })
    }

    /// One step at this learning rate with the gradients of the whole loss. A parameter without a
    /// gradient stays as it is.
    ///
    /// # Errors
    /// When a gradient's shape is not its parameter's, and bad input for an optimiser that takes
    /// the loss's parts.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64) -> Result<()> {
        for slot in &mut self.slots {
            if let Some(gradient) = gradients.get(slot.var.as_tensor()) {
                let max_norm = if slot.var.rank() == 2 { self.max_norm } else { None };
                slot.step(&self.spec, gradient, learning_rate, max_norm)?;
            }
        }
        Ok(())
    }

    /// One step of an optimiser that [splits](OptimizerSpec::splits), with the gradients of the
    /// terms by which the labels pull and of those by which the teacher pulls. A parameter
    /// without either stays as it is.
    ///
    /// # Errors
    /// When a gradient's shape is not its parameter's, and bad input for an optimiser that takes
    /// the whole loss.
    pub fn step_apart(
        &mut self,
        task: &Gradients,
        teacher: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        for slot in &mut self.slots {
            let parts = (task.get(slot.var.as_tensor()), teacher.get(slot.var.as_tensor()));
            let max_norm = if slot.var.rank() == 2 { self.max_norm } else { None };
            slot.step_apart(&self.spec, parts, learning_rate, max_norm)?;
        }
        Ok(())
    }

    /// The state as named tensors: `{parameter}.momentum`, or `{parameter}.first`, `.second` and
    /// `.steps`, or `{parameter}.task` and `.teacher`. A parameter that has had no gradient yet
    /// has none.
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
                        tensors.insert(
                            format!("{name}.steps"),
                            Tensor::new(&[state.t() as i64], var.device())?,
                        );
                    }
                }
                Moments::Dot { task, teacher } => {
                    for (part, state) in [("task", task), ("teacher", teacher)] {
                        tensors.extend(state.momentum()?.map(|v| (format!("{name}.{part}"), v)));
                    }
                }
            }
        }
        Ok(tensors)
    }

    /// Sets the state that [`Optimizer::state`] gave. A parameter without entries has had no
    /// gradient yet.
    ///
    /// # Errors
    /// Bad input that names a parameter of whose entries some are missing.
    pub fn set_state(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        for Slot { name, moments, .. } in &mut self.slots {
            let part = |what: &str| tensors.get(&format!("{name}.{what}"));
            let momentum =
                |what| part(what).cloned().map(SgdState::from_momentum).unwrap_or_default();
            match moments {
                Moments::Sgd(state) => *state = momentum("momentum"),
                Moments::Adam(state) => match (part("first"), part("second"), part("steps")) {
                    (Some(m), Some(v), Some(t)) => {
                        let steps = t.to_vec1::<i64>()?.first().copied().unwrap_or_default();
                        *state = AdamState::from_moments(m.clone(), v.clone(), steps as u64);
                    }
                    (None, None, None) => *state = AdamState::new(),
                    _ => {
                        return Err(Error::bad_input(format!(
                            "the optimiser's state of {name} is incomplete"
                        )));
                    }
                },
                Moments::Dot { task, teacher } => {
                    (*task, *teacher) = (momentum("task"), momentum("teacher"))
                }
            }
        }
        Ok(())
    }
}

impl Slot {
    fn step(
        &mut self,
        spec: &OptimizerSpec,
        gradient: &Tensor,
        lr: f64,
        max_norm: Option<f64>,
    ) -> Result<()> {
        match (spec, &mut self.moments) {
            (&OptimizerSpec::Sgd { momentum, nesterov, weight_decay }, Moments::Sgd(state)) => {
                let config = SgdConfig { lr, momentum, nesterov, weight_decay, max_norm };
                state.step(&self.var, gradient, &config)?;
            }
            (
                &OptimizerSpec::Adam { beta1, beta2, epsilon, weight_decay, decoupled },
                Moments::Adam(state),
            ) => {
                let decay = if decoupled {
                    Decay::Decoupled(weight_decay)
                } else {
                    Decay::L2(weight_decay)
                };
                let config = AdamConfig { lr, beta1, beta2, eps: epsilon, decay };
                state.step(&self.var, gradient, &config)?;
                if let Some(c) = max_norm {
                    kd_kernels::max_norm::max_norm(&self.var, c)?;
                }
            }
            _ => {
                return Err(Error::bad_input(
                    "optimizer: dot takes the gradients of the labels' and the teacher's terms apart",
                ));
            }
        }
        Ok(())
    }

    /// Two steps of SGD, one with each gradient: since neither looks at the weight but for the
    /// decay, which the first alone has, they make the step of [`OptimizerSpec::Dot`].
    fn step_apart(
        &mut self,
        spec: &OptimizerSpec,
        (by_task, by_teacher): (Option<&Tensor>, Option<&Tensor>),
        lr: f64,
        max_norm: Option<f64>,
    ) -> Result<()> {
        let (&OptimizerSpec::Dot { momentum, delta, weight_decay }, Moments::Dot { task, teacher }) =
            (spec, &mut self.moments)
        else {
            return Err(Error::bad_input(
                "optimizer: expected the gradients of the whole loss, got those of its parts",
            ));
        };
        let config = |momentum, weight_decay| SgdConfig {
            lr,
            momentum,
            nesterov: false,
            weight_decay,
            max_norm: None,
        };
        if let Some(gradient) = by_task {
            task.step(&self.var, gradient, &config(momentum - delta, weight_decay))?;
        }
        if let Some(gradient) = by_teacher {
            teacher.step(&self.var, gradient, &config(momentum + delta, 0.))?;
        }
        if let (Some(c), true) = (max_norm, by_task.is_some() || by_teacher.is_some()) {
            kd_kernels::max_norm::max_norm(&self.var, c)?;
        }
        Ok(())
    }
}
