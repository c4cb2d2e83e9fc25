//! What a method is to the training loop: built for a student and a teacher, asked once what it
//! wants, and at each step for its loss terms.

use candle_core::{Device, Tensor, Var};
use candle_nn::VarBuilder;
use kd_kernels::conv2d::Precision;

use crate::data::StrongView;
use crate::frozen::Teacher;
use crate::model::{Model, NetworkSpec, Outputs};
use crate::params::Params;
use crate::seed::StepSeed;
use crate::{Error, Result};

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

    /// Sets a parameter of the student, for a method that begins it.
    ///
    /// # Errors
    /// Bad input when the tensor is no parameter of the run, or of another shape.
    pub fn set_student(&self, parameter: &Tensor, value: &Tensor) -> Result<()> {
        let all = self.params.named();
        let found = all.iter().find(|(_, var)| var.as_tensor().id() == parameter.id());
        let (_, var) = found.filter(|(_, var)| var.dims() == value.dims()).ok_or_else(|| {
            Error::bad_input(
                "method: expected a parameter of the student of this shape, got another tensor",
            )
        })?;
        Ok(var.set(&value.to_dtype(var.dtype())?.copy()?)?)
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
#[derive(Clone, Debug, PartialEq)]
pub struct Wants {
    /// Whether the student runs at all; a phase that trains adapters on the teacher alone spares
    /// it.
    pub student: bool,
    /// Taps of the student, by name.
    pub student_taps: Vec<String>,
    /// What of the teacher.
    pub teaching: Teaching,
    /// How a second view of the step's images is made, which both networks see too; none where one
    /// is enough.
    pub second_view: Option<StrongView>,
    /// Taps of the teacher on the whole training set, for [`Distillation::survey`]; none where the
    /// method looks at nothing before the first step.
    pub survey: Option<Vec<String>>,
}

impl Default for Wants {
    /// The student's logits alone.
    fn default() -> Self {
        Self {
            student: true,
            student_taps: Vec::new(),
            teaching: Teaching::None,
            second_view: None,
            survey: None,
        }
    }
}

/// The logits of both networks on a second view of a step's images, without taps. The student's are
/// those of a second pass in training: its batch-norms have the second view's statistics, and move
/// their running ones again.
#[derive(Clone, Copy)]
pub struct SecondView<'a> {
    /// The student's.
    pub student: &'a Outputs,
    /// The teacher's.
    pub teacher: &'a Outputs,
}

/// What a step offers a method.
pub struct Step<'a> {
    /// The student's logits, and its taps in the order of [`Wants::student_taps`]; none where the
    /// method wants no student.
    pub student: Option<&'a Outputs>,
    /// The teacher's, where the method wants any; its taps in the order of [`Teaching::Live`].
    pub teacher: Option<&'a Outputs>,
    /// What both say of the second view, where [`Wants::second_view`] asks for one.
    pub second: Option<SecondView<'a>>,
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

    /// What both networks say of the second view.
    ///
    /// # Errors
    /// Bad input when [`Wants::second_view`] asks for none.
    pub fn second(&self) -> Result<SecondView<'a>> {
        self.second.ok_or_else(|| Error::bad_input("method: this step has no second view"))
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

    /// Looks at a part of the training set before the first step, where [`Wants::survey`] asks for
    /// it. All examples pass once, in their order and as they are, without augmentation. The step
    /// has no student's outputs and the teacher's with the taps of [`Wants::survey`]. What the
    /// method keeps of them is in buffers ([`Context::vb`]): a run that goes on from a state has
    /// them there, and nothing passes again. By default it keeps nothing.
    ///
    /// # Errors
    /// As [`Distillation::terms`].
    fn survey(&self, _step: &Step) -> Result<()> {
        Ok(())
    }

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

    /// The network that is trained and deployed in the place of `network`: that one, but where a
    /// method changes the student. A caller builds the student of what this gives, saves it by
    /// that description, and so evaluates, counts and exports what is deployed.
    ///
    /// # Errors
    /// Bad input when there is no teacher where one is needed, or the two do not fit.
    fn student(&self, network: NetworkSpec, _teacher: Option<&dyn Model>) -> Result<NetworkSpec> {
        Ok(network)
    }

    /// Makes the method for a student and a teacher.
    ///
    /// # Errors
    /// As [`Recipe::check`], and bad input when the method does not fit the pair.
    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>>;
}
