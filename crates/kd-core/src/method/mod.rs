//! Distillation methods: one a file, behind one trait and one closed enum.
//!
//! A method says what it wants from teacher and student and turns one step's outputs into named
//! loss terms. The arithmetic is in [`crate::loss`]; a method is wiring. Each file has two things:
//! `Spec`, the hyper-parameters as an experiment file writes them, which is a [`Recipe`], and the
//! [`Distillation`] that it builds for a student and a teacher. To add a method, write its file
//! beside [`fitnet`] and name it in the list at the end of this one.

pub mod ab;
pub mod at;
pub mod cc;
pub mod crd;
pub mod cross_stage;
pub mod dkd;
pub mod fitnet;
pub mod fsp;
pub mod ft;
pub mod hard_targets;
pub mod logit_regression;
mod logits;
pub mod nst;
pub mod ofd;
mod pairs;
pub mod paraphraser;
pub mod pkt;
mod regressor;
pub mod review;
pub mod rkd;
pub mod soft_targets;
pub mod sp;
mod stages;
pub mod vid;

use candle_core::{Device, Tensor, Var};
use candle_nn::VarBuilder;
use kd_kernels::conv2d::Precision;
use serde::{Deserialize, Serialize};

use crate::frozen::Teacher;
use crate::model::{Model, Outputs};
use crate::params::Params;
use crate::seed::StepSeed;
use crate::{Error, Result};

pub use logits::{LogitTerms, Soft, check_temperature, check_weight, rise};

/// The prefix of the names of methods' variables among the [`Params`] of a run.
pub const PREFIX: &str = "method.";

/// What a method is built for.
pub struct Context<'a> {
    student: &'a dyn Model,
    teacher: Option<&'a Teacher>,
    labels: &'a [u8],
    params: &'a Params,
    vb: VarBuilder<'a>,
    precision: Precision,
}

impl<'a> Context<'a> {
    /// The context of a run whose parameters `params` are made by `vb`, the builder that
    /// [`Params::seeded`] gave with them. `labels` are the classes of all examples of the data
    /// set, in their order; empty where no method of the run asks for them.
    pub fn new(
        student: &'a dyn Model,
        teacher: Option<&'a Teacher>,
        labels: &'a [u8],
        params: &'a Params,
        vb: &VarBuilder<'a>,
    ) -> Self {
        Self {
            student,
            teacher,
            labels,
            params,
            vb: vb.pp(PREFIX.trim_end_matches('.')),
            precision: Precision::Precise,
        }
    }

    /// The same context, with the precision of the convolutions that a method adds;
    /// [`Precision::Precise`] before.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The precision of the convolutions that a method adds.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The network that learns.
    pub fn student(&self) -> &'a dyn Model {
        self.student
    }

    /// The network that it learns from.
    ///
    /// # Errors
    /// Bad input when there is none: a cell with a distillation method names no teacher.
    pub fn teacher(&self) -> Result<&'a Teacher> {
        self.teacher
            .ok_or_else(|| Error::bad_input("method: this one needs a teacher, and there is none"))
    }

    /// The teacher's description.
    ///
    /// # Errors
    /// As [`Context::teacher`].
    pub fn teacher_model(&self) -> Result<&'a dyn Model> {
        Ok(&**self.teacher()?.model())
    }

    /// The classes of all examples of the data set, by their numbers (see [`Step::numbers`]).
    pub fn labels(&self) -> &'a [u8] {
        self.labels
    }

    /// Makes the method's variables: trainable ones by `get_with_hints`, others by
    /// [`crate::params::buffer`]. They stand among the run's parameters under [`PREFIX`], so
    /// that they train, resume and average with the student, and are dropped from its file. A
    /// second phase that asks for the same name finds the variable that the first has trained.
    pub fn vb(&self) -> &VarBuilder<'a> {
        &self.vb
    }

    /// The variable of this name under [`Context::vb`], for a method that sets it itself.
    ///
    /// # Errors
    /// Bad input when it was not made.
    pub fn var(&self, name: &str) -> Result<Var> {
        self.params
            .get(&format!("{PREFIX}{name}"))
            .ok_or_else(|| Error::bad_input(format!("method: variable {name} was not made")))
    }

    /// Where the run computes.
    pub fn device(&self) -> &Device {
        self.vb.device()
    }
}

/// What a method takes of the teacher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Teaching {
    /// Nothing.
    #[default]
    None,
    /// Its logits. Stored ones, which
    /// [`Batch::teacher_logits`](crate::train::Batch::teacher_logits) has, will do; without them
    /// the teacher sees the step's images.
    Logits,
    /// Its logits and these taps, on the step's own images.
    Live {
        /// The taps, by name.
        taps: Vec<String>,
    },
}

/// What a method asks of a step. It is fixed when the method is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Whether the student runs at all; a phase that trains adapters on the teacher alone spares
    /// it.
    pub student: bool,
    /// Taps of the student, by name.
    pub student_taps: Vec<String>,
    /// What of the teacher.
    pub teaching: Teaching,
}

impl Default for Wants {
    /// The student's logits alone.
    fn default() -> Self {
        Self { student: true, student_taps: Vec::new(), teaching: Teaching::None }
    }
}

/// What a step offers a method.
pub struct Step<'a> {
    /// The student's logits, and its taps in the order of [`Wants::student_taps`]; none where the
    /// method wants no student.
    pub student: Option<&'a Outputs>,
    /// The teacher's, where the method wants any; its taps in the order of [`Teaching::Live`].
    pub teacher: Option<&'a Outputs>,
    /// True classes, `u32 [batch]`.
    pub labels: &'a Tensor,
    /// Which examples of the data set these are, `[batch]`.
    pub numbers: &'a [u32],
    /// The epoch of the phase, counted from 0: for weights that rise or fall.
    pub epoch: usize,
    /// The draws of this step.
    pub draws: StepSeed,
}

impl<'a> Step<'a> {
    /// The student's outputs.
    ///
    /// # Errors
    /// Bad input when [`Wants::student`] is off.
    pub fn student(&self) -> Result<&'a Outputs> {
        self.student.ok_or_else(|| Error::bad_input("method: this step has no student's outputs"))
    }

    /// The teacher's outputs.
    ///
    /// # Errors
    /// Bad input when the step has none, which means that a cell with a distillation method names
    /// no teacher.
    pub fn teacher(&self) -> Result<&'a Outputs> {
        self.teacher
            .ok_or_else(|| Error::bad_input("method: this one needs a teacher, and there is none"))
    }
}

/// Which side pulls at the student by a term of the loss.
/// [`OptimizerSpec::Dot`](crate::train::OptimizerSpec::Dot) keeps a momentum for each; other
/// optimisers take the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// The labels.
    Task,
    /// The teacher.
    Teacher,
}

/// One term of the loss: the total is the sum of `weight · value`.
pub struct Term {
    /// Its name, as the logs show it.
    pub name: &'static str,
    /// The raw value, a scalar tensor.
    pub value: Tensor,
    /// Its weight in the total, at this step.
    pub weight: f64,
    /// Where it comes from.
    pub pull: Pull,
}

impl Term {
    /// A term by which the teacher pulls.
    pub fn teacher(name: &'static str, value: Tensor, weight: f64) -> Self {
        Self { name, value, weight, pull: Pull::Teacher }
    }

    /// A term by which the labels pull.
    pub fn task(name: &'static str, value: Tensor, weight: f64) -> Self {
        Self { name, value, weight, pull: Pull::Task }
    }
}

/// A method that shapes the loss, for one student and one teacher.
pub trait Distillation: Send + Sync {
    /// What it needs.
    fn wants(&self) -> &Wants;

    /// The loss terms of one step.
    ///
    /// # Errors
    /// When the step lacks what [`Distillation::wants`] asked for, or shapes do not fit.
    fn terms(&self, step: &Step) -> Result<Vec<Term>>;

    /// Moves what the method remembers, after the gradients of the step are taken and before the
    /// optimiser's step. By default it remembers nothing. A memory is a buffer among the run's
    /// parameters ([`Context::vb`]), so that it is saved with them.
    ///
    /// # Errors
    /// As [`Distillation::terms`].
    fn remember(&self, _step: &Step) -> Result<()> {
        Ok(())
    }
}

/// A method's hyper-parameters: what an experiment file says of it.
pub trait Recipe {
    /// Checks the numbers, as far as they can be checked without networks.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    fn check(&self) -> Result<()>;

    /// Whether there must be a teacher.
    fn needs_teacher(&self) -> bool {
        true
    }

    /// Makes the method for a student and a teacher.
    ///
    /// # Errors
    /// As [`Recipe::check`], and bad input when the method does not fit the pair.
    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>>;
}

/// Makes [`MethodSpec`] of the methods' modules.
macro_rules! methods {
    ($($(#[$about:meta])* $variant:ident($module:ident)),+ $(,)?) => {
        /// The methods there are, with their hyper-parameters, as an experiment file writes them: `{ kind = "fitnet", weight = 100.0, … }`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum MethodSpec {
            $($(#[$about])* $variant($module::Spec)),+
        }

        impl MethodSpec {
            fn recipe(&self) -> &dyn Recipe {
                match self {
                    $(Self::$variant(spec) => spec),+
                }
            }
        }

        $(impl From<$module::Spec> for MethodSpec {
            fn from(spec: $module::Spec) -> Self {
                Self::$variant(spec)
            }
        })+
    };
}

impl Recipe for MethodSpec {
    fn check(&self) -> Result<()> {
        self.recipe().check()
    }

    fn needs_teacher(&self) -> bool {
        self.recipe().needs_teacher()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        self.check()?;
        self.recipe().build(context)
    }
}

methods! {
    /// Heo et al. 2019, activation boundaries: the first of two phases. See [`ab`].
    Ab(ab),
    /// Zagoruyko and Komodakis 2017, attention transfer. See [`at`].
    At(at),
    /// Peng et al. 2019, correlation congruence. See [`cc`].
    Cc(cc),
    /// Tian et al. 2020, contrastive representation distillation. See [`crd`].
    Crd(crd),
    /// Chen et al. 2021, one stage to one stage. See [`cross_stage`].
    CrossStage(cross_stage),
    /// Zhao et al. 2022, decoupled soft targets. See [`dkd`].
    Dkd(dkd),
    /// Romero et al. 2015, hints. See [`fitnet`].
    Fitnet(fitnet),
    /// Yim et al. 2017, flow of solution procedure: the first of two phases. See [`fsp`].
    Fsp(fsp),
    /// Kim et al. 2018, factor transfer: the second of two phases. See [`ft`].
    Ft(ft),
    /// Cross-entropy with the labels alone: no distillation. See [`hard_targets`].
    HardTargets(hard_targets),
    /// The limit of soft targets at high temperature. See [`logit_regression`].
    LogitRegression(logit_regression),
    /// Huang and Wang 2017, neuron selectivity. See [`nst`].
    Nst(nst),
    /// Heo et al. 2019, the overhaul of feature distillation. See [`ofd`].
    Ofd(ofd),
    /// Kim et al. 2018, the first phase of factor transfer. See [`paraphraser`].
    Paraphraser(paraphraser),
    /// Passalis and Tefas 2018, probabilistic knowledge transfer. See [`pkt`].
    Pkt(pkt),
    /// Chen et al. 2021, knowledge review. See [`review`].
    Review(review),
    /// Park et al. 2019, relational knowledge distillation. See [`rkd`].
    Rkd(rkd),
    /// Hinton, Vinyals and Dean 2015. See [`soft_targets`].
    SoftTargets(soft_targets),
    /// Tung and Mori 2019, similarity-preserving distillation. See [`sp`].
    Sp(sp),
    /// Ahn et al. 2019, variational information distillation. See [`vid`].
    Vid(vid),
}
