//! A run of one phase or more: the methods that files name, built and trained one after the other.

use std::path::PathBuf;
use std::time::Duration;

use candle_core::Device;
use candle_nn::VarBuilder;
use kd_kernels::conv2d::Precision;

use super::fit::{Identity, Measure};
use super::training::saved_progress;
use super::{EpochRecord, Examples, Fit, Observer, Phase};
use crate::frozen::Teacher;
use crate::method::{Context, Recipe};
use crate::model::Model;
use crate::params::Params;
use crate::stored_outputs::StoredOutputs;
use crate::{Error, Result, Seed};

/// A training run by [`Phase`]s. Later phases go on from the parameters and the method's variables
/// of earlier ones, with an optimiser of their own.
pub struct Phases<'a> {
    /// The network.
    pub model: &'a dyn Model,
    /// Its parameters, to which those of the methods are added.
    pub params: &'a Params,
    /// The builder that [`Params::seeded`] gave with them.
    pub vb: &'a VarBuilder<'a>,
    /// The precision of the convolutions that methods add.
    pub precision: Precision,
    /// The teacher, if there is one.
    pub teacher: Option<&'a Teacher>,
    /// As [`Fit::stored`].
    pub stored: Option<&'a StoredOutputs>,
    /// The training set.
    pub examples: &'a dyn Examples,
    /// The classes of all examples of the data set, in their order; may be empty where no method
    /// asks for them.
    pub labels: &'a [u8],
    /// The seed.
    pub seed: Seed,
    /// Where it runs.
    pub device: &'a Device,
    /// As [`Fit::state`].
    pub state: Option<PathBuf>,
    /// As [`Fit::save_every`].
    pub save_every: Duration,
    /// The name of the teacher, to know a state by; empty for none.
    pub teacher_name: String,
    /// The name of the data set, to know a state by.
    pub data_name: String,
    /// As [`Fit::measure`].
    pub measure: Option<Measure<'a>>,
}

impl Phases<'_> {
    /// Trains through all phases and returns the records of all epochs. A run that finds a state
    /// goes on from its phase and epoch.
    ///
    /// # Errors
    /// As [`Fit::run`], and bad input when a method does not fit the networks.
    pub fn run(&self, phases: &[Phase], observer: &mut dyn Observer) -> Result<Vec<EpochRecord>> {
        let (reached, saved) =
            self.state.as_deref().map(saved_progress).transpose()?.unwrap_or_default();
        if let (Some(path), true) = (&self.state, reached > phases.len()) {
            let what = format!(
                "the state of another run: phase: expected at most {}, got {reached}",
                phases.len()
            );
            return Err(Error::bad_input(format!(
                "{}: {what}; delete it to start anew",
                path.display()
            )));
        }
        let mut records: Vec<EpochRecord> = Vec::new();
        for (number, phase) in (1..).zip(phases) {
            let context = Context::new(self.model, self.teacher, self.labels, self.params, self.vb)
                .with_precision(self.precision);
            let method = phase.method.build(&context)?;
            if number < reached {
                // Trained by an earlier process; the state of a later phase holds the outcome, the
                // method's variables included.
                let done = saved.iter().filter(|record| record.phase == number);
                records.extend(done.inspect(|record| observer.resumed(record)).cloned());
                continue;
            }
            let method_name = serde_json::to_string(&phase.method)
                .map_err(|e| Error::bad_input(format!("method: {e}")))?;
            let identity = Identity {
                method: method_name,
                teacher: self.teacher_name.clone(),
                data: self.data_name.clone(),
            };
            let fit = Fit {
                trains: phase.trains.clone(),
                teacher: self.teacher,
                stored: self.stored,
                state: self.state.clone(),
                save_every: self.save_every,
                identity,
                // The state of the phase before is replaced, not gone on from.
                resume: number == reached,
                earlier: records.clone(),
                measure: self.measure,
                ..Fit::new(
                    self.model,
                    self.params,
                    &*method,
                    self.examples,
                    &phase.train,
                    self.seed,
                    self.device,
                )
            };
            records.extend(fit.run(observer)?);
        }
        Ok(records)
    }
}
