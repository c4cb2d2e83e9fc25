//! Training a network for classification.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candle_core::{Device, Tensor};
use kd_kernels::Gradients;
use kd_kernels::{backward, backward_keeping};
use serde::{Deserialize, Serialize};

use super::loss_terms::{LossTerms, TermValue, check_finite};
use super::observer::{EpochRecord, Observer};
use super::training::{Task, Training};
use super::{Batch, Examples, Optimizer, TrainSpec, Trains};
use crate::frozen::Teacher;
use crate::method::{Distillation, Pull, SecondView, Step, Teaching, Term};
use crate::model::{Mode, Model, Outputs};
use crate::params::Params;
use crate::seed::StepSeed;
use crate::stored_outputs::StoredOutputs;
use crate::{Error, Result, Seed};

/// What a run is of, beside its recipe: a state file says it, and a state of anything else is
/// refused by the name of what differs. Empty where the caller does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The method with its hyper-parameters.
    pub method: String,
    /// The teacher.
    pub teacher: String,
    /// The data set.
    pub data: String,
}

/// What the state file of a [`Fit`] says that it is of.
#[derive(Clone, Serialize, Deserialize)]
struct About {
    phase: usize,
    trains: Trains,
    train: TrainSpec,
    #[serde(flatten)]
    identity: Identity,
}

/// Measures something at the end of an epoch, for the records: numbers by name.
pub type Measure<'a> = &'a (dyn Fn() -> Result<BTreeMap<String, f64>> + Sync);

/// A training run, or one phase of it.
pub struct Fit<'a> {
    /// The network.
    pub model: &'a dyn Model,
    /// Its parameters, and the method's.
    pub params: &'a Params,
    /// Which of them train.
    pub trains: Trains,
    /// The method, hard targets included.
    pub method: &'a dyn Distillation,
    /// The teacher, for a method that wants one and examples that do not carry its logits.
    pub teacher: Option<&'a Teacher>,
    /// Where what the teacher says of the first view of a step's images is kept, if anywhere: what
    /// is there is not computed again.
    pub stored: Option<&'a StoredOutputs>,
    /// The training set.
    pub examples: &'a dyn Examples,
    /// The recipe.
    pub spec: &'a TrainSpec,
    /// The seed of shuffling, augmentation and dropout.
    pub seed: Seed,
    /// Where it runs.
    pub device: &'a Device,
    /// Where its state is kept while it trains, if anywhere: a run that finds a state there goes
    /// on from it, and ends with weights identical to those of one that was never stopped.
    pub state: Option<PathBuf>,
    /// Whether a state that is there is gone on from. Off for a phase that replaces the state of
    /// the one before.
    pub resume: bool,
    /// Least time between two writes of the state. It decides how much is lost when the run is
    /// killed, never what comes out.
    pub save_every: Duration,
    /// What it is of.
    pub identity: Identity,
    /// The records of the phases before this one.
    pub earlier: Vec<EpochRecord>,
    /// What is measured at the end of each epoch, if anything.
    pub measure: Option<Measure<'a>>,
}

impl<'a> Fit<'a> {
    /// A run of one phase, of all parameters, without a teacher, that keeps no state; its fields
    /// can be set.
    pub fn new(
        model: &'a dyn Model,
        params: &'a Params,
        method: &'a dyn Distillation,
        examples: &'a dyn Examples,
        spec: &'a TrainSpec,
        seed: Seed,
        device: &'a Device,
    ) -> Self {
        Self {
            model,
            params,
            trains: Trains::All,
            method,
            teacher: None,
            stored: None,
            examples,
            spec,
            seed,
            device,
            state: None,
            resume: true,
            save_every: Duration::ZERO,
            identity: Identity::default(),
            earlier: Vec::new(),
            measure: None,
        }
    }

    /// Trains and returns the record of every epoch of the phase; the parameters hold the result.
    /// `observer` is told of each step and epoch as it comes, and first of the epochs of an
    /// earlier process.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a loss term stops being finite, bad input when the state file is
    /// of another run or there are no examples.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<Vec<EpochRecord>> {
        self.spec.check()?;
        if self.examples.is_empty() && self.spec.epochs > 0 {
            return Err(Error::bad_input(
                "the training set is empty: expected at least 1 example, got 0",
            ));
        }
        let phase = self.earlier.last().map_or(1, |record| record.phase + 1);
        let about = About {
            phase,
            trains: self.trains.clone(),
            train: self.spec.clone(),
            identity: self.identity.clone(),
        };
        let training = Training {
            params: self.params,
            trains: &self.trains,
            spec: &about,
            earlier: &self.earlier,
            epochs: self.spec.epochs,
            average_epochs: self.spec.average_epochs,
            optimizer: &self.spec.optimizer,
            max_norm: (self.spec.max_norm > 0.).then_some(self.spec.max_norm),
            seed: self.seed,
            device: self.device,
            state: self.state.clone(),
            resume: self.resume,
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
    pub fn step(
        &self,
        optimizer: &mut Optimizer,
        rows: &[u32],
        draws: StepSeed,
        lr: f64,
    ) -> Result<Vec<TermValue>> {
        let Shown { batch, second } = self.shown(rows, draws)?;
        self.taken(optimizer, &batch, second.as_ref(), draws, lr)
    }

    /// One step on a batch that [`Examples::batch`] made of the same `draws`: forward, backward and
    /// update. Returns the loss terms.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a term is not finite; the parameters are left alone then. Bad
    /// input when the method wants a second view, which a batch does not have.
    pub fn step_on(
        &self,
        optimizer: &mut Optimizer,
        batch: &Batch,
        draws: StepSeed,
        lr: f64,
    ) -> Result<Vec<TermValue>> {
        self.taken(optimizer, batch, None, draws, lr)
    }

    /// What a step shows of these examples.
    fn shown(&self, rows: &[u32], draws: StepSeed) -> Result<Shown> {
        let (examples, device) = (self.examples, self.device);
        let view = self.method.wants().second_view;
        let second =
            view.map(|view| examples.second_view(rows, &view, draws, device)).transpose()?;
        Ok(Shown { batch: examples.batch(rows, draws, device)?, second })
    }

    fn taken(
        &self,
        optimizer: &mut Optimizer,
        batch: &Batch,
        second: Option<&Tensor>,
        draws: StepSeed,
        lr: f64,
    ) -> Result<Vec<TermValue>> {
        // A caller of single steps wants to know each at once.
        let known = |terms: LossTerms| -> Result<Vec<TermValue>> {
            let values = terms.read()?;
            check_finite(&values, draws)?;
            Ok(values)
        };
        if self.spec.optimizer.splits() {
            let ([task, teacher], terms) = self.gradients_apart(batch, second, draws)?;
            let values = known(terms)?;
            optimizer.step_apart(&task, &teacher, lr)?;
            return Ok(values);
        }
        let (gradients, terms) = self.gradients(batch, second, draws)?;
        let values = known(terms)?;
        optimizer.step(&gradients, lr)?;
        Ok(values)
    }

    fn gradients(
        &self,
        batch: &Batch,
        second: Option<&Tensor>,
        draws: StepSeed,
    ) -> Result<(Gradients, LossTerms)> {
        self.walked(batch, second, draws, |terms| {
            let loss = total(terms.iter())?
                .ok_or_else(|| Error::bad_input("the method gave no loss term"))?;
            Ok(backward(&loss)?)
        })
    }

    fn gradients_apart(
        &self,
        batch: &Batch,
        second: Option<&Tensor>,
        draws: StepSeed,
    ) -> Result<([Gradients; 2], LossTerms)> {
        self.walked(batch, second, draws, |terms| {
            let of = |pull| total(terms.iter().filter(|term| term.pull == pull));
            // The two losses share a graph: the first pass leaves in it what the second needs.
            let task = of(Pull::Task)?.map(|loss| backward_keeping(&loss)).transpose()?;
            let teacher = of(Pull::Teacher)?.map(|loss| backward(&loss)).transpose()?;
            Ok([task.unwrap_or_default(), teacher.unwrap_or_default()])
        })
    }

    /// The forward pass of a step, `backward` over its terms, and what the method remembers of it.
    fn walked<G>(
        &self,
        batch: &Batch,
        second: Option<&Tensor>,
        draws: StepSeed,
        backward: impl Fn(&[Term]) -> Result<G>,
    ) -> Result<(G, LossTerms)> {
        let wants = self.method.wants();
        let student = if wants.student {
            Some(self.model.forward(
                &batch.inputs,
                &names(&wants.student_taps),
                Mode::Train(draws),
            )?)
        } else {
            None
        };
        let teacher = self.teaching(&wants.teaching, batch, draws.epoch)?;
        let second = second.map(|images| self.on_second(images, draws)).transpose()?;
        let second = second.as_ref().map(|[student, teacher]| SecondView { student, teacher });
        let step = Step {
            student: student.as_ref(),
            teacher: teacher.as_ref(),
            second,
            labels: &batch.labels,
            numbers: &batch.numbers,
            epoch: draws.epoch.saturating_sub(self.earlier.len()),
            draws,
        };
        let terms = self.method.terms(&step)?;
        let values = LossTerms::of(&terms)?;
        values.check(draws)?;
        let gradients = backward(&terms)?;
        self.method.remember(&step)?;
        Ok((gradients, values))
    }

    fn needed_teacher(&self) -> Result<&'a Teacher> {
        self.teacher
            .ok_or_else(|| Error::bad_input("method: this one needs a teacher, and there is none"))
    }

    /// What student and teacher say of a second view of the step's images.
    fn on_second(&self, images: &Tensor, draws: StepSeed) -> Result<[Outputs; 2]> {
        let teacher = self.needed_teacher()?;
        let student = self.model.forward(images, &[], Mode::Train(draws.of_second_view()))?;
        Ok([student, teacher.forward(images, &[])?])
    }

    /// Shows the method the training set as it is, where it asks for that.
    fn survey(&self, stops: &mut dyn FnMut() -> bool) -> Result<()> {
        let Some(taps) = &self.method.wants().survey else { return Ok(()) };
        let teacher = self.needed_teacher()?;
        let rows: Vec<u32> = (0..self.examples.len() as u32).collect();
        for (step, rows) in rows.chunks(self.spec.batch_size).enumerate() {
            let epoch = self.earlier.len();
            if stops() {
                return Err(Error::Stopped { epoch: epoch + 1, step: 0 });
            }
            let batch = self.examples.plain(rows, self.device)?;
            let teacher = teacher.forward(&batch.inputs, &names(taps))?;
            self.method.survey(&Step {
                student: None,
                teacher: Some(&teacher),
                second: None,
                labels: &batch.labels,
                numbers: &batch.numbers,
                epoch: 0,
                draws: StepSeed { seed: self.seed, epoch, step },
            })?;
        }
        Ok(())
    }

    /// What the method takes of the teacher: the batch's logits where they will do and are there,
    /// and otherwise what it says of the batch, which may be stored.
    fn teaching(
        &self,
        teaching: &Teaching,
        batch: &Batch,
        epoch: usize,
    ) -> Result<Option<Outputs>> {
        let taps = match (teaching, &batch.teacher_logits) {
            (Teaching::None, _) => return Ok(None),
            (Teaching::Logits, Some(logits)) => {
                return Ok(Some(Outputs { logits: logits.clone(), taps: Vec::new() }));
            }
            (Teaching::Logits, None) => Vec::new(),
            (Teaching::Live { taps }, _) => names(taps),
        };
        let Some(teacher) = self.teacher else { return Ok(None) };
        let forward = || teacher.forward(&batch.inputs, &taps);
        let outputs = match self.stored {
            None => forward()?,
            Some(stored) => stored.outputs(epoch, &batch.numbers, &taps, self.device, forward)?,
        };
        Ok(Some(outputs))
    }
}

fn names(taps: &[String]) -> Vec<&str> {
    taps.iter().map(String::as_str).collect()
}

/// The weighted sum of the terms; none where there are none.
fn total<'a>(terms: impl Iterator<Item = &'a Term>) -> Result<Option<Tensor>> {
    let mut loss: Option<Tensor> = None;
    for term in terms {
        let weighted =
            if term.weight == 1. { term.value.clone() } else { (&term.value * term.weight)? };
        loss = Some(match loss {
            Some(sum) => (sum + weighted)?,
            None => weighted,
        });
    }
    Ok(loss)
}

/// What a step shows: a batch, and a second view of its images where the method wants one.
struct Shown {
    batch: Batch,
    second: Option<Tensor>,
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
            *known = (epoch, self.fit.seed.order(epoch, self.fit.examples.len()).into());
        }
        known.1.clone()
    }
}

impl Task for Images<'_> {
    type Batch = Shown;

    fn epoch(&self, _: usize) -> Result<(usize, usize)> {
        Ok((self.fit.steps(), self.fit.examples.len()))
    }

    fn batch(&self, draws: StepSeed) -> Result<Shown> {
        let (order, size) = (self.order(draws.epoch), self.fit.spec.batch_size);
        let rows = &order[draws.step * size..order.len().min((draws.step + 1) * size)];
        self.fit.shown(rows, draws)
    }

    fn begin(&self, stops: &mut dyn FnMut() -> bool) -> Result<()> {
        self.fit.survey(stops)
    }

    fn learning_rate(&self, epoch: usize, step: usize) -> f64 {
        let spec = self.fit.spec;
        spec.learning_rate
            * spec.schedule.factor(epoch, step, spec.epochs, self.fit.steps(), spec.warm_up_epochs)
    }

    fn gradients(&self, shown: &Shown, draws: StepSeed) -> Result<(Gradients, LossTerms)> {
        self.fit.gradients(&shown.batch, shown.second.as_ref(), draws)
    }

    fn gradients_apart(
        &self,
        shown: &Shown,
        draws: StepSeed,
    ) -> Result<([Gradients; 2], LossTerms)> {
        self.fit.gradients_apart(&shown.batch, shown.second.as_ref(), draws)
    }

    fn measure(&self, _: usize) -> Result<BTreeMap<String, f64>> {
        self.fit.measure.map_or_else(|| Ok(BTreeMap::new()), |measure| measure())
    }
}
