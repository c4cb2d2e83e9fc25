//! Stochastic gradient descent with momentum, weight decay and max-norm, in place.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, Var, bail};

use crate::moment::{Moment, check_grad};
use crate::switch::takes_kernel;

/// The numbers of one SGD step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// Learning rate η >= 0.
    pub lr: f64,
    /// Momentum μ >= 0; 0 keeps no state.
    pub momentum: f64,
    /// Whether the step looks ahead along the momentum; needs μ > 0.
    pub nesterov: bool,
    /// Weight decay λ >= 0, added to the gradient as λ·w.
    pub weight_decay: f64,
    /// Cap on the length of each row of the weight after the step, as in
    /// [`crate::max_norm::max_norm`].
    pub max_norm: Option<f64>,
}

impl SgdConfig {
    /// Plain SGD: no momentum, no decay, no max-norm.
    pub fn new(lr: f64) -> Self {
        Self { lr, momentum: 0.0, nesterov: false, weight_decay: 0.0, max_norm: None }
    }

    fn check(&self) -> Result<()> {
        for (name, value) in
            [("lr", self.lr), ("momentum", self.momentum), ("weight_decay", self.weight_decay)]
        {
            if !(value.is_finite() && value >= 0.0) {
                bail!("sgd: expected a finite {name} of at least 0, got {value}");
            }
        }
        if self.nesterov && self.momentum == 0.0 {
            bail!("sgd: expected momentum above 0 with nesterov, got 0");
        }
        Ok(())
    }
}

/// What SGD keeps beside one variable: its momentum.
#[derive(Clone, Debug, Default)]
pub struct SgdState {
    momentum: Moment,
}

impl SgdState {
    /// The state before the first step.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state that goes on from a saved momentum, of the variable's shape.
    pub fn from_momentum(momentum: Tensor) -> Self {
        Self { momentum: Moment::new(momentum) }
    }

    /// A copy of the momentum, or `None` where no step with momentum has been made.
    ///
    /// Errors: as Candle's, from making the tensor.
    pub fn momentum(&self) -> Result<Option<Tensor>> {
        self.momentum.snapshot()
    }

    /// One step on `var` `[..]` with `grad` of the same shape, in place:
    /// d = g + λ·w; v = μ·v + d (v = 0 before the first step); w −= η·v, or η·(d + μ·v) with
    /// Nesterov, or η·d with μ = 0; then, with max-norm, each row of w is scaled down to the
    /// cap.
    ///
    /// This is PyTorch's `torch.optim.SGD` with dampening 0. A variable that is not f32 on the CPU
    /// takes the twin from stock ops.
    ///
    /// Errors: a config out of its domain, a gradient or saved momentum of another shape, a
    /// gradient that shares memory with the variable, and max-norm on a variable of rank below
    /// 2.
    pub fn step(&mut self, var: &Var, grad: &Tensor, cfg: &SgdConfig) -> Result<()> {
        cfg.check()?;
        check_grad(var, grad, "sgd")?;
        if let Some(cap) = cfg.max_norm {
            crate::max_norm::check(var, cap, "sgd")?;
        }
        if takes_kernel(&[var, grad])? {
            let momentum =
                if cfg.momentum == 0.0 { None } else { Some(self.momentum.host(var, "sgd")?) };
            var.inplace_op2(&grad.contiguous()?, &cpu::Sgd::new(cfg, momentum))
        } else {
            self.step_reference(var, grad, cfg)
        }
    }

    fn step_reference(&mut self, var: &Var, grad: &Tensor, cfg: &SgdConfig) -> Result<()> {
        let momentum = self.momentum.tensor(var, "sgd")?;
        let (weight, momentum) =
            reference::step(&var.as_detached_tensor(), &grad.detach(), &momentum, cfg)?;
        var.set(&weight)?;
        if cfg.momentum != 0.0 {
            self.momentum = Moment::new(momentum);
        }
        Ok(())
    }
}
