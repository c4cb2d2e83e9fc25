//! The training loop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::ahead::ahead;
use super::{Batch, Examples, Optimizer, OptimizerSpec, Schedule, checkpoint};
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
        if self.batch_size == 0 {
            return fault("expected a batch-size of at least 1, got 0".into());
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.) {
            return fault(format!("expected a learning-rate above 0, got {}", self.learning_rate));
        }
        if !(self.max_norm.is_finite() && self.max_norm >= 0.) {
            return fault(format!("expected a max-norm of at least 0, got {}", self.max_norm));
        }
        if self.average_epochs > self.epochs {
            return fault(format!("expected average-epochs of at most epochs = {}, got {}", self.epochs, self.average_epochs));
        }
        self.optimizer.check()
    }
}

/// What one loss term came to at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TermValue {
    /// Its name.
    pub name: &'static str,
    /// Its weight in the total.
    pub weight: f64,
    /// The raw value.
    pub value: f32,
}

/// What one epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean over its steps of the total loss.
    pub loss: f64,
    /// Mean over its steps of each term's raw value.
    pub terms: BTreeMap<String, f64>,
    /// Examples shown.
    pub examples: usize,
    /// Time it took; not a result.
    pub seconds: f64,
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

/// What the state file says beside its tensors.
#[derive(Serialize, Deserialize)]
struct Progress {
    spec: TrainSpec,
    seed: u64,
    epochs: Vec<EpochRecord>,
    averaged: u64,
}

impl Fit<'_> {
    /// Trains and returns every epoch's record; the parameters hold the result. `observe` sees each record as it comes, those
    /// of a resumed run's earlier epochs first.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a loss term stops being finite, bad input when the state file is of another run or there are
    /// no examples.
    pub fn run(&self, observe: &mut dyn FnMut(&EpochRecord)) -> Result<Vec<EpochRecord>> {
        self.spec.check()?;
        if self.examples.is_empty() && self.spec.epochs > 0 {
            return Err(Error::bad_input("the training set is empty: expected at least 1 example, got 0"));
        }
        let max_norm = (self.spec.max_norm > 0.).then_some(self.spec.max_norm);
        let mut optimizer = Optimizer::new(&self.spec.optimizer, max_norm, self.params)?;
        let mut average = Average::default();
        let mut records = match &self.state {
            Some(path) if path.exists() => self.resume(path, &mut optimizer, &mut average)?,
            _ => Vec::new(),
        };
        records.iter().for_each(&mut *observe);
        let mut saved = Instant::now();
        for epoch in records.len()..self.spec.epochs {
            let record = self.epoch(epoch, &mut optimizer)?;
            if epoch + self.spec.average_epochs >= self.spec.epochs {
                average.add(self.params)?;
            }
            observe(&record);
            records.push(record);
            if let Some(path) = &self.state
                && (saved.elapsed() >= self.save_every || records.len() == self.spec.epochs)
            {
                self.save(path, &optimizer, &average, &records)?;
                saved = Instant::now();
            }
        }
        if average.count > 0 {
            self.params.set(&average.mean)?;
        }
        Ok(records)
    }

    fn epoch(&self, epoch: usize, optimizer: &mut Optimizer) -> Result<EpochRecord> {
        let started = Instant::now();
        let order = self.seed.stream("shuffle", epoch, 0).permutation(self.examples.len());
        let order: Vec<u32> = order.into_iter().map(|row| row as u32).collect();
        let steps = order.len().div_ceil(self.spec.batch_size);
        let (mut total, mut terms, mut lr) = (0f64, BTreeMap::<String, f64>::new(), 0f64);
        // A batch is a function of its rows and its draws, so it is the same wherever and whenever it is made.
        let (examples, device, seed, batch_size) = (self.examples, self.device, self.seed, self.spec.batch_size);
        let draws = |step| StepSeed { seed, epoch, step };
        let make = |step: usize| {
            let rows = &order[step * batch_size..order.len().min((step + 1) * batch_size)];
            examples.batch(rows, draws(step), device)
        };
        ahead(steps, make, |step, batch| {
            lr = self.spec.learning_rate * self.spec.schedule.factor(epoch, step, self.spec.epochs, steps, self.spec.warm_up_epochs);
            for TermValue { name, weight, value } in self.step_on(optimizer, &batch, draws(step), lr)? {
                total += weight * f64::from(value);
                *terms.entry(name.to_owned()).or_default() += f64::from(value);
            }
            Ok(())
        })?;
        let n = steps as f64;
        terms.values_mut().for_each(|v| *v /= n);
        let (learning_rate, loss, examples) = (lr, total / n, order.len());
        Ok(EpochRecord { epoch: epoch + 1, learning_rate, loss, terms, examples, seconds: started.elapsed().as_secs_f64() })
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
        let (loss, values) = self.loss(batch, draws)?;
        if let Some(&TermValue { name, value, .. }) = values.iter().find(|term| !term.value.is_finite()) {
            return Err(Error::NonFinite { term: name.to_owned(), value, epoch: draws.epoch + 1, step: draws.step + 1 });
        }
        optimizer.step(&kd_kernels::backward::backward(&loss)?, lr)?;
        Ok(values)
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

    fn save(&self, path: &Path, optimizer: &Optimizer, average: &Average, records: &[EpochRecord]) -> Result<()> {
        let mut tensors = BTreeMap::new();
        let parts = [("model", self.params.snapshot()?), ("optimizer", optimizer.state()?), ("average", average.mean.clone())];
        for (part, values) in parts {
            tensors.extend(values.into_iter().map(|(n, t)| (format!("{part}/{n}"), t)));
        }
        let progress = Progress { spec: self.spec.clone(), seed: self.seed.0, epochs: records.to_vec(), averaged: average.count };
        checkpoint::save(path, &tensors, &progress)
    }

    fn resume(&self, path: &Path, optimizer: &mut Optimizer, average: &mut Average) -> Result<Vec<EpochRecord>> {
        let (tensors, progress) = checkpoint::load::<Progress>(path, self.device)?;
        if progress.spec != *self.spec || progress.seed != self.seed.0 {
            return Err(Error::bad_input(format!("{}: the state of another run; delete it to start anew", path.display())));
        }
        let part = |name: &str| -> BTreeMap<String, Tensor> {
            tensors.iter().filter_map(|(n, t)| Some((n.strip_prefix(name)?.strip_prefix('/')?.to_owned(), t.clone()))).collect()
        };
        self.params.set(&part("model"))?;
        optimizer.set_state(&part("optimizer"))?;
        *average = Average { mean: part("average"), count: progress.averaged };
        Ok(progress.epochs)
    }
}

/// The running mean of the parameters and buffers at the ends of the last epochs.
#[derive(Default)]
struct Average {
    mean: BTreeMap<String, Tensor>,
    count: u64,
}

impl Average {
    fn add(&mut self, params: &Params) -> Result<()> {
        self.count += 1;
        if self.count == 1 {
            self.mean = params.snapshot()?;
            return Ok(());
        }
        for (name, var) in params.named().into_iter().chain(params.buffers()) {
            if let Some(mean) = self.mean.get_mut(&name) {
                let towards = ((var.as_tensor().detach() - &*mean)? * (1. / self.count as f64))?;
                *mean = (&*mean + towards)?;
            }
        }
        Ok(())
    }
}
