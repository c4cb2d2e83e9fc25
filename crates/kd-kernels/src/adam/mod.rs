//! Adam and AdamW, in place.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, Var, bail};

use crate::moment::{Moment, check_grad};
use crate::switch::takes_kernel;

/// How weight decay enters a step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// λ·w is added to the gradient: Adam with an L2 penalty. λ = 0 is no decay.
    L2(f64),
    /// The weight is multiplied by 1 − η·λ before the step: AdamW.
    Decoupled(f64),
}

/// The numbers of one step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Learning rate η >= 0.
    pub lr: f64,
    /// Decay rate β₁ in [0, 1) of the gradient's average.
    pub beta1: f64,
    /// Decay rate β₂ in [0, 1) of the squared gradient's average.
    pub beta2: f64,
    /// ε >= 0, added to the root of the second moment.
    pub eps: f64,
    /// Weight decay.
    pub decay: Decay,
}

impl AdamConfig {
    /// PyTorch's defaults of `torch.optim.Adam`: β = (0.9, 0.999), ε = 1e-8, no decay.
    pub fn adam(lr: f64) -> Self {
        Self { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: Decay::L2(0.0) }
    }

    /// PyTorch's defaults of `torch.optim.AdamW`: as [`AdamConfig::adam`], with a decoupled decay
    /// of 0.01.
    pub fn adamw(lr: f64) -> Self {
        Self { decay: Decay::Decoupled(0.01), ..Self::adam(lr) }
    }

    fn check(&self) -> Result<()> {
        let (Decay::L2(decay) | Decay::Decoupled(decay)) = self.decay;
        for (name, value) in [("lr", self.lr), ("eps", self.eps), ("weight decay", decay)] {
            if !(value.is_finite() && value >= 0.0) {
                bail!("adam: expected a finite {name} of at least 0, got {value}");
            }
        }
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                bail!("adam: expected {name} in [0, 1), got {beta}");
            }
        }
        Ok(())
    }
}

/// What depends on the step count: (η/(1 − β₁^t), √(1 − β₂^t)).
fn bias_corrections(cfg: &AdamConfig, t: u64) -> (f64, f64) {
    let t = t as f64;
    (cfg.lr / (1.0 - cfg.beta1.powf(t)), (1.0 - cfg.beta2.powf(t)).sqrt())
}

/// What Adam keeps beside one variable: both moments and the number of steps made.
#[derive(Clone, Debug, Default)]
pub struct AdamState {
    m: Moment,
    v: Moment,
    t: u64,
}

impl AdamState {
    /// The state before the first step.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state that goes on after `t` steps from saved moments, of the variable's shape.
    pub fn from_moments(m: Tensor, v: Tensor, t: u64) -> Self {
        Self { m: Moment::new(m), v: Moment::new(v), t }
    }

    /// A copy of the gradient's average, or `None` before the first step.
    ///
    /// Errors: as Candle's, from making the tensor.
    pub fn m(&self) -> Result<Option<Tensor>> {
        self.m.snapshot()
    }

    /// A copy of the squared gradient's average, or `None` before the first step.
    ///
    /// Errors: as Candle's, from making the tensor.
    pub fn v(&self) -> Result<Option<Tensor>> {
        self.v.snapshot()
    }

    /// The number of steps made.
    pub fn t(&self) -> u64 {
        self.t
    }

    /// One step on `var` `[..]` with `grad` of the same shape, in place:
    /// w *= 1 − η·λ (decoupled decay), or d = g + λ·w (L2; otherwise d = g); m = m + (1 − β₁)·(d −
    /// m); v = β₂·v + (1 − β₂)·d²; w −= η/(1 − β₁^t) · m / (√v/√(1 − β₂^t) + ε), with t counted
    /// from 1 and both moments 0 before the first step.
    ///
    /// This is PyTorch's `torch.optim.Adam` and `AdamW` without AMSGrad. A variable that is not f32
    /// on the CPU takes the twin from stock ops. A step that fails leaves the count as it was.
    ///
    /// Errors: a config out of its domain, a gradient or saved moment of another shape, and a
    /// gradient that shares memory with the variable.
    pub fn step(&mut self, var: &Var, grad: &Tensor, cfg: &AdamConfig) -> Result<()> {
        cfg.check()?;
        check_grad(var, grad, "adam")?;
        let t = self.t + 1;
        if takes_kernel(&[var, grad])? {
            let (m, v) = (self.m.host(var, "adam")?, self.v.host(var, "adam")?);
            var.inplace_op2(&grad.contiguous()?, &cpu::Adam::new(cfg, t, m, v))?;
        } else {
            let (m, v) = (self.m.tensor(var, "adam")?, self.v.tensor(var, "adam")?);
            let (weight, m, v) =
                reference::step(&var.as_detached_tensor(), &grad.detach(), &m, &v, t, cfg)?;
            var.set(&weight)?;
            (self.m, self.v) = (Moment::new(m), Moment::new(v));
        }
        self.t = t;
        Ok(())
    }
}
