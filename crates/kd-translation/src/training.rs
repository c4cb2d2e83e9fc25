//! Sentence pairs as a [`Task`] of the training loop.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor};
use kd_kernels::backward;
use kd_kernels::smoothed_cross_entropy::{
    label_smoothed_cross_entropy, projected_cross_entropy, soft_cross_entropy,
};
use kd_kernels::{Gradients, Precision};
use serde::{Deserialize, Serialize};

use crate::bpe::PAD;
use crate::generated_student::GeneratedStudent;
use crate::token_batches::{TokenBatch, TokenBatches};
use crate::transformer::Transformer;
use kd_core::model::Mode;
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::train::{LossTerms, OptimizerSpec, Task};
use kd_core::{Error, Result, Seed};

/// How a translator is trained, as an experiment file writes it. Lengths are in updates of the
/// parameters, as in the field; an epoch is a number of updates, after which a state may be saved,
/// weights averaged and quality measured, wherever in the text it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TranslationSpec {
    /// Updates in all: a multiple of `updates-per-epoch`.
    pub updates: usize,
    /// Updates of an epoch.
    pub updates_per_epoch: usize,
    /// The most tokens of a batch, padding included, on the longer side.
    pub tokens: usize,
    /// Batches whose gradients make one update.
    pub accumulate: usize,
    /// The learning rate at the end of the warm-up.
    pub learning_rate: f64,
    /// Updates over which it rises linearly from `initial-rate`; then it falls with the root of
    /// the updates done.
    pub warm_up: usize,
    /// The learning rate of the first update.
    pub initial_rate: f64,
    /// The optimiser.
    pub optimizer: OptimizerSpec,
    /// ε of the smoothed labels, spread over the whole vocabulary.
    pub label_smoothing: f64,
    /// How many of the last epochs give their final weights to the average that becomes the
    /// network; 0 or 1 for the last alone.
    pub average_epochs: usize,
    /// The precision of the matrix products of a step, forward and backward. Whatever is measured
    /// of the network is computed in `float32`.
    pub precision: Precision,
}

impl TranslationSpec {
    /// Epochs in all.
    pub fn epochs(&self) -> usize {
        self.updates / self.updates_per_epoch.max(1)
    }

    /// lr(u) = initial + u·(peak − initial)/w for the first w = `warm-up` updates, then
    /// peak·√(w/u), with u updates done, as in fairseq's `inverse_sqrt`. Without a warm-up the
    /// rate stays at its peak.
    pub fn rate(&self, done: usize) -> f64 {
        let (u, w) = (done as f64, self.warm_up as f64);
        match done {
            _ if self.warm_up == 0 => self.learning_rate,
            done if done < self.warm_up => {
                self.initial_rate + u * (self.learning_rate - self.initial_rate) / w
            }
            _ => self.learning_rate * (w / u).sqrt(),
        }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::bad_input(format!("train: {what}")));
        Error::unless_within("train.updates", self.updates, 0..=1_000_000_000)?;
        Error::unless_within("train.updates-per-epoch", self.updates_per_epoch, 1..=1_000_000_000)?;
        Error::unless_within("train.tokens", self.tokens, 1..=1_000_000_000)?;
        Error::unless_within("train.accumulate", self.accumulate, 1..=1_000_000)?;
        if !self.updates.is_multiple_of(self.updates_per_epoch) {
            return fault(format!(
                "expected updates as a multiple of updates-per-epoch = {}, got {}",
                self.updates_per_epoch, self.updates
            ));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.) {
            return fault(format!("expected a learning-rate above 0, got {}", self.learning_rate));
        }
        if !(0. ..=self.learning_rate).contains(&self.initial_rate) {
            return fault(format!(
                "expected an initial-rate of 0 to the learning-rate, got {}",
                self.initial_rate
            ));
        }
        if !(0. ..1.).contains(&self.label_smoothing) {
            return fault(format!(
                "expected label-smoothing in [0, 1), got {}",
                self.label_smoothing
            ));
        }
        if self.average_epochs > self.epochs() {
            return fault(format!(
                "expected average-epochs of at most {}, got {}",
                self.epochs(),
                self.average_epochs
            ));
        }
        self.optimizer.check()
    }
}

/// The batches of a run: passes over the text one after the other, each in its own order.
pub struct Pairs<'a> {
    batches: &'a TokenBatches,
    seed: Seed,
    /// The passes so far, with the number of the first batch of each.
    passes: Mutex<Vec<Pass>>,
}

struct Pass {
    first: usize,
    batches: Vec<Vec<u32>>,
}

impl<'a> Pairs<'a> {
    /// # Errors
    /// Bad input when there are no pairs.
    pub fn new(batches: &'a TokenBatches, seed: Seed) -> Result<Self> {
        if batches.is_empty() {
            return Err(Error::bad_input(
                "the training set is empty: expected at least 1 sentence pair, got 0",
            ));
        }
        Ok(Self { batches, seed, passes: Mutex::default() })
    }

    /// The rows of batch `index` of the run, counted from 0 over all passes: a function of the seed
    /// and the text alone.
    pub fn rows(&self, index: usize) -> Vec<u32> {
        // Entries are pushed whole.
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        // How many batches a pass has may differ from pass to pass, so they are counted from the
        // first.
        loop {
            if let Some(pass) = passes
                .iter()
                .find(|pass| (pass.first..pass.first + pass.batches.len()).contains(&index))
            {
                return pass.batches[index - pass.first].clone();
            }
            let first = passes.last().map_or(0, |pass| pass.first + pass.batches.len());
            let batches = self.batches.shuffled(self.seed, passes.len());
            passes.push(Pass { first, batches });
        }
    }
}

/// What learns.
pub enum Learner<'a> {
    /// An ordinary network.
    Network(&'a Transformer),
    /// One whose weights are computed from a teacher's.
    Generated(&'a GeneratedStudent),
}

/// Word-level distillation (Kim and Rush 2016, section 3.1): (1 − α)·L + α·Σ −q ln p, q being the
/// teacher's distribution of the next word.
pub struct WordDistillation<'a> {
    /// The teacher; it has no variables and runs in evaluation mode.
    pub teacher: &'a Transformer,
    /// α, in (0, 1].
    pub weight: f64,
}

/// What is measured after an epoch, counted from 0.
pub type Measure<'a> = dyn Fn(usize) -> Result<BTreeMap<String, f64>> + Sync + 'a;

/// The task: minimise the label-smoothed cross-entropy of the target words, per word.
pub struct TranslationTask<'a> {
    /// What learns.
    pub learner: Learner<'a>,
    /// Its parameters.
    pub params: &'a Params,
    /// The teacher of word-level distillation, if it has one.
    pub teacher: Option<WordDistillation<'a>>,
    /// The text.
    pub pairs: Pairs<'a>,
    /// The recipe.
    pub spec: &'a TranslationSpec,
    /// Where it runs.
    pub device: &'a Device,
    /// Measured after each epoch, if anything is.
    pub measure: Option<&'a Measure<'a>>,
}

impl TranslationTask<'_> {
    fn update(&self, epoch: usize, step: usize) -> usize {
        epoch * self.spec.updates_per_epoch + step
    }

    /// Loss terms of one batch, sums over its words: the loss to minimise, the cross-entropy, and the
    /// teacher's where there is one.
    fn terms(
        &self,
        network: &Transformer,
        batch: &TokenBatch,
        mode: Mode,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let memory = network.encode(&batch.source, &batch.source_lengths, mode)?;
        let hidden = network.decode(&memory, &batch.target_in, mode)?.flatten_to(1)?;
        let targets = batch.target_out.flatten_all()?;
        let smoothing = self.spec.label_smoothing;
        let Some(WordDistillation { teacher, weight }) = &self.teacher else {
            let loss = projected_cross_entropy(
                &hidden,
                network.output_table(),
                &targets,
                smoothing,
                Some(PAD),
            )?
            .loss;
            return Ok((loss.clone(), loss.detach(), None));
        };
        let logits = network.logits(&hidden)?;
        let hard = label_smoothed_cross_entropy(&logits, &targets, smoothing, Some(PAD))?.loss;
        let read = teacher.encode(&batch.source, &batch.source_lengths, Mode::Evaluate)?;
        let wanted = teacher
            .logits(&teacher.decode(&read, &batch.target_in, Mode::Evaluate)?.flatten_to(1)?)?;
        let counts: Vec<bool> = targets.to_vec1::<u32>()?.into_iter().map(|id| id != PAD).collect();
        let soft = soft_cross_entropy(&logits, &wanted, Some(&counts))?;
        let loss = ((&hard * (1. - weight))? + (&soft * *weight)?)?;
        Ok((loss, hard.detach(), Some(soft.detach())))
    }
}

impl Task for TranslationTask<'_> {
    type Batch = Vec<TokenBatch>;

    fn epoch(&self, epoch: usize) -> Result<(usize, usize)> {
        let first = self.update(epoch, 0) * self.spec.accumulate;
        let shown = (first..first + self.spec.updates_per_epoch * self.spec.accumulate)
            .map(|i| self.pairs.rows(i).len())
            .sum();
        Ok((self.spec.updates_per_epoch, shown))
    }

    fn batch(&self, draws: StepSeed) -> Result<Vec<TokenBatch>> {
        let first = self.update(draws.epoch, draws.step) * self.spec.accumulate;
        let batches = (first..first + self.spec.accumulate)
            .map(|i| Ok(self.pairs.batches.batch(&self.pairs.rows(i), self.device)?));
        batches.collect()
    }

    fn learning_rate(&self, epoch: usize, step: usize) -> f64 {
        self.spec.rate(self.update(epoch, step))
    }

    fn gradients(
        &self,
        batches: &Vec<TokenBatch>,
        draws: StepSeed,
    ) -> Result<(Gradients, LossTerms)> {
        self.spec.precision.during(|| self.summed_gradients(batches, draws))
    }

    fn measure(&self, epoch: usize) -> Result<BTreeMap<String, f64>> {
        self.measure.map_or_else(|| Ok(BTreeMap::new()), |measure| measure(epoch))
    }
}

impl TranslationTask<'_> {
    /// The gradients of an update, of all its batches.
    fn summed_gradients(
        &self,
        batches: &[TokenBatch],
        draws: StepSeed,
    ) -> Result<(Gradients, LossTerms)> {
        let words: usize = batches.iter().map(|batch| batch.target_tokens).sum();
        let (mut hard, mut soft) = (Vec::new(), Vec::new());
        let mut sum: Option<Gradients> = None;
        for (i, batch) in batches.iter().enumerate() {
            // The batches of an update are told apart by the step of their draws.
            let mode =
                Mode::Train(StepSeed { step: draws.step * self.spec.accumulate + i, ..draws });
            let computed;
            let network = match &self.learner {
                Learner::Network(network) => *network,
                Learner::Generated(student) => {
                    computed = student.student()?;
                    &computed
                }
            };
            let (loss, h, s) = self.terms(network, batch, mode)?;
            hard.push(h);
            soft.extend(s);
            let gradients = backward(&(loss * (1. / words as f64))?)?;
            sum = Some(match sum {
                None => gradients,
                Some(sum) => {
                    sum.plus(gradients, self.params.named().iter().map(|(_, var)| var.as_tensor()))?
                }
            });
        }
        let weight = self.teacher.as_ref().map_or(0., |teacher| teacher.weight);
        let hard = per_word(&hard, words)?;
        let soft = if soft.is_empty() { None } else { Some(per_word(&soft, words)?) };
        let terms = std::iter::once(("cross-entropy", 1. - weight, &hard))
            .chain(soft.iter().map(|soft| ("word-distillation", weight, soft)));
        let values = LossTerms::stacked(terms)?;
        values.check(draws)?;
        let gradients =
            sum.ok_or_else(|| Error::bad_input("train: expected accumulate of at least 1, got 0"))?;
        Ok((gradients, values))
    }
}

/// Sums over the words of several batches, each a scalar, as one mean over all words. On the CPU it
/// is summed in f64; elsewhere the scalars stay where they are.
fn per_word(sums: &[Tensor], words: usize) -> Result<Tensor> {
    let Some(first) = sums.first().filter(|sum| sum.device().is_cpu()) else {
        return Ok((Tensor::stack(sums, 0)?.sum_all()? / words as f64)?);
    };
    let mut mean = 0.;
    for sum in sums {
        mean += f64::from(sum.to_scalar::<f32>()?) / words as f64;
    }
    Ok(Tensor::new(mean as f32, first.device())?)
}
