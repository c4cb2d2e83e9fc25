//! Training a network for classification.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candle_core::{Device, Tensor};
use kd_kernels::Gradients;
use serde::{Deserialize, Serialize};

use super::training::{EpochRecord, Observer, Task, TermValue, Training, check_finite};
use super::{Batch, Examples, Optimizer, OptimizerSpec, Schedule};
use crate::method::{Distillation, Step};
use crate::model::{Mode, Model, Outputs};
use crate::params::Params;
use crate::seed::StepSeed;
use crate::{Error, Result, Seed};

/// How a network is trained, as an experiment file writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainSpec {
    /// Passes over the training set.
    pub epochs: usize,
    /// Examples per step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Learning rate where the schedule's factor is 1.
    pub learning_rate: f64,
    /// How it moves.
    pub schedule: Schedule,
    /// Epochs over which it rises from 0 at the start.
    pub warm_up_epochs: usize,
    /// The optimiser.
    pub optimizer: OptimizerSpec,
    /// Longest weight vector into a unit (L2 norm), kept after every step; 0 for no limit.
    pub max_norm: f64,
    /// How many of the last epochs give their final weights to the average that becomes the network; 0 or 1 for the last alone.
    pub average_epochs: usize,
}

impl TrainSpec {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::bad_input(format!("train: {what}")));
        Error::unless_within("train.epochs", self.epochs, 0..=1_000_000)?;
        Error::unless_within("train.warm-up-epochs", self.warm_up_epochs, 0..=1_000_000)?;
        Error::unless_within("train.batch-size", self.batch_size, 1..=1_000_000_000)?;
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.) {
            return fault(format!("expected a learning-rate above 0, got {}", self.learning_rate));
        }
        if !(self.max_norm.is_finite() && self.max_norm >= 0.) {
            return fault(format!("expected a max-norm of at least 0, got {}", self.max_norm));
        }
        if self.average_epochs > self.epochs {
            return fault(format!("expected average-epochs of at most epochs = {}, got {}", self.epochs, self.average_epochs));
        }
        self.schedule.check()?;
        self.optimizer.check()
    }
}

/// A training run.
pub struct Fit<'a> {
    /// The network.
    pub model: &'a dyn Model,
    /// Its parameters.
    pub params: &'a Params,
    /// The method, hard targets included.
    pub method: &'a dyn Distillation,
    /// The training set.
    pub examples: &'a dyn Examples,
    /// The recipe.
    pub spec: &'a TrainSpec,
    /// The seed of shuffling, augmentation and dropout.
    pub seed: Seed,
    /// Where it runs.
    pub device: &'a Device,
    /// Where its state is kept while it trains, if anywhere: a run that finds a state there goes on from it, and ends with the
    /// same weights, to the bit, as one that was never stopped.
    pub state: Option<PathBuf>,
    /// Least time between two writes of the state. It decides how much is lost when the run is killed, never what comes out.
    pub save_every: Duration,
}

impl Fit<'_> {
    /// Trains and returns every epoch's record; the parameters hold the result. `observer` is told of each step and epoch as it comes, those
    /// of a resumed run's earlier epochs first.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a loss term stops being finite, bad input when the state file is of another run or there are
    /// no examples.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<Vec<EpochRecord>> {
        self.spec.check()?;
        if self.examples.is_empty() && self.spec.epochs > 0 {
            return Err(Error::bad_input("the training set is empty: expected at least 1 example, got 0"));
        }
        let training = Training {
            params: self.params,
            spec: self.spec,
            epochs: self.spec.epochs,
            average_epochs: self.spec.average_epochs,
            optimizer: &self.spec.optimizer,
            max_norm: (self.spec.max_norm > 0.).then_some(self.spec.max_norm),
            seed: self.seed,
            device: self.device,
            state: self.state.clone(),
            save_every: self.save_every,
        };
        training.run(&Images { fit: self, order: Mutex::default() }, observer)
    }

    fn steps(&self) -> usize {
        self.examples.len().div_ceil(self.spec.batch_size)
    }

    /// One step on these examples, whose batch is made here. Returns the loss terms.
    ///
    /// # Errors
    /// As [`Fit::step_on`], and when the batch cannot be made.
    pub fn step(&self, optimizer: &mut Optimizer, rows: &[u32], draws: StepSeed, lr: f64) -> Result<Vec<TermValue>> {
        self.step_on(optimizer, &self.examples.batch(rows, draws, self.device)?, draws, lr)
    }

    /// One step on a batch that [`Examples::batch`] made of the same `draws`: forward, backward and update. Returns the loss terms.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a term is not finite; the parameters are left alone then.
    pub fn step_on(&self, optimizer: &mut Optimizer, batch: &Batch, draws: StepSeed, lr: f64) -> Result<Vec<TermValue>> {
        let (gradients, values) = self.gradients(batch, draws)?;
        optimizer.step(&gradients, lr)?;
        Ok(values)
    }

    fn gradients(&self, batch: &Batch, draws: StepSeed) -> Result<(Gradients, Vec<TermValue>)> {
        let (loss, values) = self.loss(batch, draws)?;
        check_finite(&values, draws)?;
        Ok((kd_kernels::backward::backward(&loss)?, values))
    }

    /// The total loss of a step, and its terms.
    fn loss(&self, batch: &Batch, draws: StepSeed) -> Result<(Tensor, Vec<TermValue>)> {
        let wants = self.method.wants();
        let taps: Vec<&str> = wants.student_taps.iter().map(String::as_str).collect();
        let student = self.model.forward(&batch.inputs, &taps, Mode::Train(draws))?;
        let teacher = batch.teacher_logits.clone().map(|logits| Outputs { logits, taps: Vec::new() });
        let terms = self.method.terms(&Step { student: &student, teacher: teacher.as_ref(), labels: &batch.labels })?;
        let mut values = Vec::with_capacity(terms.len());
        let mut loss: Option<Tensor> = None;
        for term in &terms {
            let (name, weight) = (term.name, term.weight);
            values.push(TermValue { name, weight, value: term.value.to_scalar()? });
            let weighted = if term.weight == 1. { term.value.clone() } else { (&term.value * term.weight)? };
            loss = Some(match loss {
                Some(sum) => (sum + weighted)?,
                None => weighted,
            });
        }
        let loss = loss.ok_or_else(|| Error::bad_input("the method gave no loss term"))?;
        Ok((loss, values))
    }
}

/// The images of a run, shuffled for each epoch.
struct Images<'a> {
    fit: &'a Fit<'a>,
    /// The epoch whose order it is, and the order.
    order: Mutex<(usize, Arc<[u32]>)>,
}

impl Images<'_> {
    fn order(&self, epoch: usize) -> Arc<[u32]> {
        // The value is whole at any time: it is replaced at once.
        let mut known = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != epoch || known.1.is_empty() {
            let order = self.fit.seed.stream("shuffle", epoch, 0).permutation(self.fit.examples.len());
            *known = (epoch, order.into_iter().map(|row| row as u32).collect());
        }
        known.1.clone()
    }
}

impl Task for Images<'_> {
    type Batch = Batch;

    fn epoch(&self, _: usize) -> Result<(usize, usize)> {
        Ok((self.fit.steps(), self.fit.examples.len()))
    }

    fn batch(&self, draws: StepSeed) -> Result<Batch> {
        let (order, size) = (self.order(draws.epoch), self.fit.spec.batch_size);
        let rows = &order[draws.step * size..order.len().min((draws.step + 1) * size)];
        self.fit.examples.batch(rows, draws, self.fit.device)
    }

    fn learning_rate(&self, epoch: usize, step: usize) -> f64 {
        let spec = self.fit.spec;
        spec.learning_rate * spec.schedule.factor(epoch, step, spec.epochs, self.fit.steps(), spec.warm_up_epochs)
    }

    fn gradients(&self, batch: &Batch, draws: StepSeed) -> Result<(Gradients, Vec<TermValue>)> {
        self.fit.gradients(batch, draws)
    }
}
