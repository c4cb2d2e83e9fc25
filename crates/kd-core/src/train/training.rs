//! The one training loop: epochs of steps, the optimiser, the average of the last epochs, and a
//! state from which a killed run goes on.
//!
//! What a step is made of, images and a method's loss terms or sentence pairs, is a [`Task`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use kd_kernels::Gradients;
use serde::{Deserialize, Serialize};

use super::ahead::ahead;
use super::loss_terms::LossTerms;
use super::unfinished::{Sums, Unfinished};
use super::{EpochRecord, Observer, Optimizer, OptimizerSpec, StepRecord, Trains, checkpoint};
use crate::params::Params;
use crate::seed::StepSeed;
use crate::{Error, Result, Seed};

/// What is trained on, step by step.
pub trait Task: Sync {
    /// What a step needs. It is a function of the step's draws, so it can be made ahead of its
    /// step, on another thread.
    type Batch: Send;

    /// Steps of an epoch, counted from 0, and how many examples they show in all.
    ///
    /// # Errors
    /// When there is nothing to train on.
    fn epoch(&self, epoch: usize) -> Result<(usize, usize)>;

    /// The batch of one step.
    ///
    /// # Errors
    /// When it cannot be made.
    fn batch(&self, draws: StepSeed) -> Result<Self::Batch>;

    /// What is done before the first step of a run that goes on from no state; by default nothing.
    /// `stops` says whether it is to end with [`Error::Stopped`].
    ///
    /// # Errors
    /// When it cannot be done.
    fn begin(&self, _stops: &mut dyn FnMut() -> bool) -> Result<()> {
        Ok(())
    }

    /// The learning rate of one step: both count from 0, epochs within the phase.
    fn learning_rate(&self, epoch: usize, step: usize) -> f64;

    /// Loss terms of a batch and the gradients of their weighted sum.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a term that is known at once is not finite: on the CPU, any.
    fn gradients(&self, batch: &Self::Batch, draws: StepSeed) -> Result<(Gradients, LossTerms)>;

    /// The same, with the gradients of the terms by which the labels pull and of those by which the
    /// teacher pulls apart.
    ///
    /// # Errors
    /// As [`Task::gradients`]. Bad input, by default: the terms of most tasks do not say who pulls.
    fn gradients_apart(
        &self,
        _batch: &Self::Batch,
        _draws: StepSeed,
    ) -> Result<([Gradients; 2], LossTerms)> {
        Err(Error::bad_input(
            "optimizer: dot needs a distillation method, whose terms say who pulls",
        ))
    }

    /// What is measured after an epoch, counted from 0, by name; by default nothing.
    ///
    /// # Errors
    /// When it cannot be measured.
    fn measure(&self, _epoch: usize) -> Result<BTreeMap<String, f64>> {
        Ok(BTreeMap::new())
    }
}

/// A training run, or one phase of it. `S` says what it is of, as it is written to the state file:
/// a state of anything else is refused.
pub struct Training<'a, S> {
    /// The parameters, with what belongs to them.
    pub params: &'a Params,
    /// Which of them train.
    pub trains: &'a Trains,
    /// All that tells one run's state from another's.
    pub spec: &'a S,
    /// The records of the phases before this one.
    pub earlier: &'a [EpochRecord],
    /// Passes.
    pub epochs: usize,
    /// How many of the last epochs give their final weights to the average that becomes the
    /// network; 0 or 1 for the last alone.
    pub average_epochs: usize,
    /// The optimiser.
    pub optimizer: &'a OptimizerSpec,
    /// Longest weight vector into a unit, if there is a limit.
    pub max_norm: Option<f64>,
    /// The seed of all draws.
    pub seed: Seed,
    /// Where it runs.
    pub device: &'a Device,
    /// Where its state is kept while it trains, if anywhere: a run that finds a state there goes
    /// on from it, and ends with weights identical to those of one that was never stopped.
    pub state: Option<PathBuf>,
    /// Whether a state that is there is gone on from.
    pub resume: bool,
    /// Least time between two writes of the state. It decides how much is lost when the run is
    /// killed, never what comes out. Inside an epoch at least a second lies between two.
    pub save_every: Duration,
}

/// Least time between two writes of the state inside an epoch: steps may be shorter than a write.
const BETWEEN_STEPS: Duration = Duration::from_secs(1);

/// What changes from step to step beside the parameters.
struct Run {
    optimizer: Optimizer,
    average: Average,
    records: Vec<EpochRecord>,
    saved: Instant,
}

/// What the state file says beside its tensors.
#[derive(Serialize, Deserialize)]
struct Progress<S> {
    spec: S,
    seed: u64,
    /// Of this phase.
    epochs: Vec<EpochRecord>,
    /// The epoch after these, where it is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unfinished: Option<Unfinished>,
    averaged: u64,
    /// Of the phases before.
    #[serde(default)]
    earlier: Vec<EpochRecord>,
    /// The entries of the optimiser's state; a file that lacks one is damaged.
    #[serde(default)]
    optimizer: BTreeSet<String>,
}

/// The phase that the state at `path` is in, counted from 1, and the epochs that it has behind it,
/// phase by phase; 0 and none where there is no state.
///
/// # Errors
/// Bad input when the file is no state.
pub(super) fn saved_progress(path: &Path) -> Result<(usize, Vec<EpochRecord>)> {
    if !path.exists() {
        return Ok((0, Vec::new()));
    }
    let progress: Progress<serde_json::Value> =
        checkpoint::description(path).map_err(with_way_out)?;
    let records: Vec<EpochRecord> = progress.earlier.into_iter().chain(progress.epochs).collect();
    let begun = progress.unfinished.map_or(0, |epoch| epoch.phase);
    Ok((records.last().map_or(0, |record| record.phase).max(begun), records))
}

/// The error of a state that cannot be used, with what to do about it.
fn with_way_out(error: Error) -> Error {
    match error {
        Error::BadInput(what) => Error::BadInput(format!("{what}; delete it to start anew")),
        other => other,
    }
}

impl<S: Clone + Serialize + serde::de::DeserializeOwned> Training<'_, S> {
    /// Trains on `task` and returns the record of every epoch of the phase; the parameters hold the
    /// result. `observer` is told of each step and epoch as it comes, and first of the epochs
    /// of an earlier process.
    ///
    /// # Errors
    /// Those of the task, and bad input when the state file is of another run, or a parameter is
    /// not finite after the last step.
    pub fn run<T: Task>(&self, task: &T, observer: &mut dyn Observer) -> Result<Vec<EpochRecord>> {
        let trained =
            self.params.named().into_iter().filter(|(name, _)| self.trains.takes(name)).collect();
        let mut run = Run {
            optimizer: Optimizer::over(self.optimizer, self.max_norm, trained)?,
            average: Average::default(),
            records: Vec::new(),
            saved: Instant::now(),
        };
        let mut unfinished = match &self.state {
            Some(path) if self.resume && path.exists() => self.restore(path, &mut run)?,
            _ => {
                if self.epochs > 0 {
                    task.begin(&mut || observer.stops())?;
                }
                None
            }
        };
        run.records.iter().for_each(|record| observer.resumed(record));
        for epoch in run.records.len()..self.epochs {
            let sums = unfinished.take().map(|saved| Sums::of(&saved)).unwrap_or_default();
            let record = self.epoch(task, epoch, sums, &mut run, observer)?;
            if epoch + 1 == self.epochs {
                // The loss of the last step is that before the parameters moved.
                self.check_parameters(record.epoch)?;
            }
            if epoch + self.average_epochs >= self.epochs {
                run.average.add(self.params)?;
            }
            observer.epoch(&record);
            let (number, steps) = (record.epoch, task.epoch(record.epoch - 1)?.0);
            run.records.push(record);
            let last = run.records.len() == self.epochs;
            let stops = !last && observer.stops();
            if let Some(path) = &self.state
                && (last || stops || run.saved.elapsed() >= self.save_every)
            {
                self.save(path, &mut run, None)?;
            }
            if stops {
                return Err(Error::Stopped { epoch: number, step: steps });
            }
        }
        if run.average.count > 0 {
            self.params.set(&run.average.mean)?;
        }
        Ok(run.records)
    }

    /// The number of this phase, from 1.
    fn phase(&self) -> usize {
        self.earlier.last().map_or(1, |record| record.phase + 1)
    }

    /// Fails where a parameter or a running statistic has left the finite numbers.
    fn check_parameters(&self, epoch: usize) -> Result<()> {
        for (name, var) in self.params.named().into_iter().chain(self.params.buffers()) {
            let values = var.as_detached_tensor().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
            let values = values.flatten_all()?.to_vec1::<f32>()?;
            if let Some(value) = values.into_iter().find(|value| !value.is_finite()) {
                return Err(Error::bad_input(format!(
                    "{name} holds {value} after epoch {epoch}; a lower learning rate may keep it finite"
                )));
            }
        }
        Ok(())
    }

    fn epoch<T: Task>(
        &self,
        task: &T,
        epoch: usize,
        mut sums: Sums,
        run: &mut Run,
        observer: &mut dyn Observer,
    ) -> Result<EpochRecord> {
        let (started, earlier) = (Instant::now(), sums.seconds);
        // Later phases go on counting, so that their draws are new ones.
        let overall = self.earlier.len() + epoch;
        let (steps, examples) = task.epoch(overall)?;
        let (mut lr, begun) = (0f64, sums.step);
        if begun > 0 && begun >= steps {
            let what = format!("the state is damaged: expected a step below {steps}, got {begun}");
            return Err(with_way_out(Error::bad_input(match &self.state {
                Some(path) => format!("{}: {what}", path.display()),
                None => what,
            })));
        }
        let seed = self.seed;
        let draws = |step| StepSeed { seed, epoch: overall, step };
        // A batch is a function of its draws, so it is the same wherever and whenever it is made.
        ahead(
            steps.saturating_sub(begun),
            |made| task.batch(draws(begun + made)),
            |made, batch| {
                let step = begun + made;
                lr = task.learning_rate(epoch, step);
                if self.optimizer.splits() {
                    let ([by_task, by_teacher], terms) =
                        task.gradients_apart(&batch, draws(step))?;
                    run.optimizer.step_apart(&by_task, &by_teacher, lr)?;
                    sums.push(draws(step), terms);
                } else {
                    let (gradients, terms) = task.gradients(&batch, draws(step))?;
                    run.optimizer.step(&gradients, lr)?;
                    sums.push(draws(step), terms);
                }
                if sums.are_due(self.device) {
                    sums.settle()?;
                }
                sums.step = step + 1;
                if sums.step < steps {
                    self.between(&mut sums, (overall, steps), earlier, started, run, observer)?;
                }
                Ok(())
            },
        )?;
        sums.settle()?;
        let n = steps as f64;
        let mut terms = sums.terms;
        terms.values_mut().for_each(|v| *v /= n);
        let measured = task.measure(epoch)?;
        Ok(EpochRecord {
            epoch: overall + 1,
            phase: self.phase(),
            learning_rate: lr,
            loss: sums.loss / n,
            terms,
            measured,
            examples,
            seconds: earlier + started.elapsed().as_secs_f64(),
        })
    }

    /// What happens between two steps of an epoch: the observer is told, and the state is saved
    /// where it is time for it or the run is asked to stop.
    fn between(
        &self,
        sums: &mut Sums,
        (overall, steps): (usize, usize),
        earlier: f64,
        started: Instant,
        run: &mut Run,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let (epoch, step) = (overall + 1, sums.step);
        observer.step(StepRecord { epoch, step, steps, loss: sums.mean() });
        let stops = observer.stops();
        if let Some(path) = &self.state
            && (stops || run.saved.elapsed() >= self.save_every.max(BETWEEN_STEPS))
        {
            sums.settle()?;
            let seconds = earlier + started.elapsed().as_secs_f64();
            self.save(path, run, Some(sums.saved(self.phase(), seconds)))?;
        }
        if stops { Err(Error::Stopped { epoch, step }) } else { Ok(()) }
    }

    fn save(&self, path: &Path, run: &mut Run, unfinished: Option<Unfinished>) -> Result<()> {
        let mut tensors = BTreeMap::new();
        let state = run.optimizer.state()?;
        let progress = Progress {
            spec: self.spec.clone(),
            seed: self.seed.0,
            epochs: run.records.clone(),
            unfinished,
            averaged: run.average.count,
            earlier: self.earlier.to_vec(),
            optimizer: state.keys().cloned().collect(),
        };
        for (part, values) in [
            ("model", self.params.snapshot()?),
            ("optimizer", state),
            ("average", run.average.mean.clone()),
        ] {
            tensors.extend(values.into_iter().map(|(n, t)| (format!("{part}/{n}"), t)));
        }
        checkpoint::save(path, &tensors, &progress)?;
        run.saved = Instant::now();
        Ok(())
    }

    /// Sets the run to where the state at `path` stands, and returns the epoch that it has begun.
    fn restore(&self, path: &Path, run: &mut Run) -> Result<Option<Unfinished>> {
        let fault = |what: String| {
            Err(Error::bad_input(format!("{}: {what}; delete it to start anew", path.display())))
        };
        let (tensors, progress) =
            checkpoint::load::<Progress<serde_json::Value>>(path, self.device)
                .map_err(with_way_out)?;
        let mine = serde_json::to_value(self.spec)
            .map_err(|e| Error::bad_input(format!("{}: {e}", path.display())))?;
        if let Some(difference) = first_difference(&mine, &progress.spec) {
            return fault(format!("the state of another run: {difference}"));
        }
        if progress.seed != self.seed.0 {
            return fault(format!(
                "the state of another run: seed: expected {}, got {}",
                self.seed.0, progress.seed
            ));
        }
        let part = |name: &str| -> BTreeMap<String, Tensor> {
            tensors
                .iter()
                .filter_map(|(n, t)| {
                    Some((n.strip_prefix(name)?.strip_prefix('/')?.to_owned(), t.clone()))
                })
                .collect()
        };
        let state = part("optimizer");
        if let Some(missing) = progress.optimizer.iter().find(|name| !state.contains_key(*name)) {
            return fault(format!("the state is damaged: expected optimizer/{missing}, got none"));
        }
        let of_file = |error: Error| match error {
            Error::BadInput(what) => Error::BadInput(format!("{}: {what}", path.display())),
            other => other,
        };
        let set = self.params.set(&part("model")).and_then(|()| run.optimizer.set_state(&state));
        set.map_err(of_file).map_err(with_way_out)?;
        run.average = Average { mean: part("average"), count: progress.averaged };
        run.records = progress.epochs;
        Ok(progress.unfinished)
    }
}

/// Where two descriptions of a run differ first: "method.temperature: expected 4, got 2".
fn first_difference(expected: &serde_json::Value, got: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    let short = |value: Option<&Value>| {
        let text = value.map_or("nothing".to_owned(), Value::to_string);
        if text.chars().count() > 60 {
            text.chars().take(57).chain("...".chars()).collect()
        } else {
            text
        }
    };
    if let (Value::Object(a), Value::Object(b)) = (expected, got) {
        return a.keys().chain(b.keys()).find_map(|key| match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => first_difference(a, b).map(|rest| {
                if rest.starts_with(':') { format!("{key}{rest}") } else { format!("{key}.{rest}") }
            }),
            (a, b) => Some(format!("{key}: expected {}, got {}", short(a), short(b))),
        });
    }
    (expected != got)
        .then(|| format!(": expected {}, got {}", short(Some(expected)), short(Some(got))))
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
