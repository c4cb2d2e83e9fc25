//! Taps of a student and a teacher that belong together, and what is added up over them.

use candle_core::Tensor;

use super::{Context, Distillation, LogitTerms, Step, Teaching, Term, Wants};
use crate::loss::operands::pooling;
use crate::model::{Activated, Model, Tap};
use crate::{Error, Result};

/// Pairs of taps, from the input to the output.
pub(super) struct Pairs<'a>(Vec<(&'a Tap, &'a Tap)>);

impl<'a> Pairs<'a> {
    /// The outputs of all stages, after their activations: what the CRD benchmark calls f1 to
    /// f_last−1.
    ///
    /// # Errors
    /// Bad input when a network has no stages, or the two have different numbers of them.
    pub fn stages(context: &Context<'a>, method: &str) -> Result<Self> {
        let (student, teacher) = (
            context.student().stages(Activated::After),
            context.teacher_model()?.stages(Activated::After),
        );
        if student.len() != teacher.len() || student.is_empty() {
            let expected =
                format!("{method}: expected a student and a teacher of as many stages, at least 1");
            return Err(Error::bad_input(format!(
                "{expected}, got {} and {}",
                student.len(),
                teacher.len()
            )));
        }
        Ok(Self(student.into_iter().zip(teacher).collect()))
    }

    /// The outputs of the last stages, after their activations.
    ///
    /// # Errors
    /// Bad input when a network has no stages.
    pub fn last_stage(context: &Context<'a>, method: &str) -> Result<Self> {
        let last = |network: &'a dyn Model, who: &str| {
            let none = || {
                Error::bad_input(format!("{method}: expected a {who} with stages, got one without"))
            };
            network.stages(Activated::After).last().copied().ok_or_else(none)
        };
        Ok(Self(vec![(
            last(context.student(), "student")?,
            last(context.teacher_model()?, "teacher")?,
        )]))
    }

    /// The pooled vectors.
    ///
    /// # Errors
    /// Bad input when a network has none.
    pub fn pooled(context: &Context<'a>) -> Result<Self> {
        Ok(Self(vec![(context.student().tap("pooled")?, context.teacher_model()?.tap("pooled")?)]))
    }

    /// The same, where the larger map of each pair can be pooled to the size of the smaller.
    ///
    /// # Errors
    /// Bad input that names the taps and their sizes.
    pub fn that_pool(self, method: &str) -> Result<Self> {
        for (student, teacher) in &self.0 {
            let (s, t) = (student.side(), teacher.side());
            if pooling((s, s), (t, t)).is_none() {
                let what = format!(
                    "{method}: expected maps of which one is a whole multiple of the other"
                );
                return Err(Error::bad_input(format!(
                    "{what}, got {s} pixels at {} and {t} at the teacher's {}",
                    student.name, teacher.name
                )));
            }
        }
        Ok(self)
    }

    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&'a Tap, &'a Tap)> {
        self.0.iter().copied()
    }

    /// What a method of these taps wants.
    pub fn wants(&self) -> Wants {
        let names = |taps: Vec<&Tap>| taps.iter().map(|tap| tap.name.clone()).collect();
        let (student, teacher) = self.0.iter().copied().unzip();
        Wants {
            student_taps: names(student),
            teaching: Teaching::Live { taps: names(teacher) },
            ..Wants::default()
        }
    }
}

/// The sum over the pairs of a step's taps of what `loss` gives for each: the pair's number, the
/// student's tap and the teacher's.
///
/// # Errors
/// When the step lacks taps, and those of `loss`.
pub(super) fn sum_over_taps(
    step: &Step,
    loss: impl Fn(usize, &Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (student, teacher) = (&step.student()?.taps, &step.teacher()?.taps);
    let mut parts = student.iter().zip(teacher).enumerate().map(|(i, (s, t))| loss(i, s, t));
    let first = parts.next().unwrap_or_else(|| {
        Err(Error::bad_input("method: expected a tap of student and teacher, got none"))
    })?;
    parts.try_fold(first, |sum, part| Ok((sum + part?)?))
}

/// A method that is one loss of a pair of taps: a term of its name, the sum of `loss` over the
/// pairs, and those of [`LogitTerms`].
pub(super) struct PairLoss {
    wants: Wants,
    name: &'static str,
    loss: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    weight: f64,
    logits: LogitTerms,
}

impl PairLoss {
    /// The method for these pairs.
    pub fn new(
        pairs: &Pairs,
        name: &'static str,
        loss: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
        weight: f64,
        logits: LogitTerms,
    ) -> Self {
        Self { wants: pairs.wants(), name, loss, weight, logits }
    }
}

impl Distillation for PairLoss {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let value = sum_over_taps(step, |_, s, t| Ok((self.loss)(s, t)?))?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher(self.name, value, self.weight));
        Ok(terms)
    }
}
