//! Maps that a classifier sees: what methods share that look through the networks' own classifiers.

use candle_core::Tensor;

use super::{Context, Step, Teaching, Wants};
use crate::model::{Classifier, LAST, Model};
use crate::{Error, Result};

/// The last maps of student and teacher, with the classifiers behind them.
pub(super) struct LastMaps {
    student: Classifier,
    teacher: Classifier,
}

impl LastMaps {
    /// For networks whose logits are a classifier of the mean of their last map, and that tell the
    /// same number of classes apart.
    ///
    /// # Errors
    /// Bad input, which begins with the name of the `method`, when one is no such network, or the
    /// numbers differ.
    pub fn of(context: &Context, method: &str) -> Result<Self> {
        let of = |network: &dyn Model, who: &str| {
            network.classifier().ok_or_else(|| {
                let expected = "whose logits are a classifier of the mean of its last map";
                Error::bad_input(format!("{method}: expected a {who} {expected}, got another"))
            })
        };
        let (student, teacher) = (context.student(), context.teacher_model()?);
        if student.classes() != teacher.classes() {
            return Err(Error::bad_input(format!(
                "{method}: expected a student and a teacher of as many classes, got {} and {}",
                student.classes(),
                teacher.classes()
            )));
        }
        Ok(Self { student: of(student, "student")?, teacher: of(teacher, "teacher")? })
    }

    /// The student's classifier, and the teacher's.
    pub fn classifiers(&self) -> [&Classifier; 2] {
        [&self.student, &self.teacher]
    }

    /// What a method of these maps wants.
    pub fn wants(&self) -> Wants {
        let taps = vec![LAST.to_owned()];
        Wants { student_taps: taps.clone(), teaching: Teaching::Live { taps }, ..Wants::default() }
    }

    /// The student's map of a step and its classifier, and the teacher's.
    ///
    /// # Errors
    /// When the step lacks what [`LastMaps::wants`] asked for.
    pub fn of_step<'a>(&'a self, step: &Step<'a>) -> Result<[(&'a Tensor, &'a Classifier); 2]> {
        Ok([(&step.student()?.taps[0], &self.student), (&step.teacher()?.taps[0], &self.teacher)])
    }
}
