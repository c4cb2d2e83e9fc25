//! "Multi-level logit distillation" (Jin, Wang and Lin, CVPR 2023): soft targets at several
//! temperatures, and how alike images and classes are, on two views of each image.
//!
//! L = hard-weight · (CE(w) + CE(s)) + weight · (c · Σ_T KD_T(w) + Σ_U KD_U(s) + Σ_V KD_V(w) +
//! c' · Σ_T CC_T(w) + c · Σ_T BC_T(w)),
//!
//! with the logits w of the step's images and s of a second view of them, made by `view`
//! ([`StrongView`]); KD_T, the divergence [`softened_kl`], which carries T²; CC,
//! [`class_correlation`]; BC, [`batch_correlation`]; T from `temperatures`, U from the first three
//! of them and V from the others; c and c' the shares of images and classes of which the teacher is
//! no surer than of the median one ([`unsure_shares`]).
//!
//! Source: section 3 and the official program: temperatures 4, 3, 5, 2, 6, weight 0.9, hard-weight
//! 0.1, two operations, a hole of up to half of the width, 480 epochs.
//!
//! Quirks of the program, on which its numbers rest, and which are kept here: Q1 the masks of
//! images and classes of which the teacher is not sure multiply losses that are one number already,
//! and so only scale them, by c and c'. Q2 two of the five divergences on the second view are of
//! the first one (the sum over V). Q3 the other losses on the second view are computed and not
//! used.
//!
//! With `standardised`, the divergences compare standardised logits ("Logit standardization in
//! knowledge distillation", CVPR 2024), and CC, BC, c and c' the logits as they are, as in its
//! program.
//!
//! Both networks see both views, in two passes: batch-norms of the student move twice a step.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Context, Distillation, Recipe, Step, Teaching, Term, Wants, check_temperature, check_weight,
};
use crate::data::StrongView;
use crate::loss::multi_level::{batch_correlation, class_correlation, unsure_shares};
use crate::loss::{cross_entropy, softened_kl, standardised};
use crate::{Error, Result};

/// How many of the temperatures the second view is seen at.
const ON_SECOND: usize = 3;

/// Several levels on two views.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperatures; the second view is seen at the first three.
    pub temperatures: Vec<f64>,
    /// Weight of all that the teacher says.
    pub weight: f64,
    /// Weight of the cross-entropy with the labels, on each view.
    pub hard_weight: f64,
    /// How the second view is made.
    pub view: StrongView,
    /// Whether the divergences are of [`standardised`] logits; false where the file does not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standardised: bool,
}

/// Terms: `hard`, of both views, `instances`, `classes` and `batch`.
pub struct Mlkd {
    spec: Spec,
    wants: Wants,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        if self.temperatures.len() < ON_SECOND {
            return Err(Error::bad_input(format!(
                "method.temperatures: expected at least {ON_SECOND}, got {}",
                self.temperatures.len()
            )));
        }
        self.temperatures.iter().try_for_each(|&t| check_temperature(t))?;
        check_weight("weight", self.weight)?;
        check_weight("hard-weight", self.hard_weight)?;
        self.view.check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        context.teacher()?;
        let wants = Wants {
            teaching: Teaching::Live { taps: Vec::new() },
            second_view: Some(self.view),
            ..Wants::default()
        };
        Ok(Box::new(Mlkd { spec: self.clone(), wants }))
    }
}

impl Distillation for Mlkd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let second = step.second()?;
        let (w, w_teacher) = (&step.student()?.logits, &step.teacher()?.logits);
        let (s, s_teacher) = (&second.student.logits, &second.teacher.logits);
        let Spec { temperatures, weight, hard_weight, .. } = &self.spec;
        let compared = |logits: &Tensor| match self.spec.standardised {
            true => standardised(logits),
            false => Ok(logits.clone()),
        };
        let [w_kd, w_kd_teacher] = [compared(w)?, compared(w_teacher)?];
        let [s_kd, s_kd_teacher] = [compared(s)?, compared(s_teacher)?];
        let over = |temperatures: &[f64], loss: &dyn Fn(f64) -> candle_core::Result<Tensor>| {
            let parts =
                temperatures.iter().map(|&t| loss(t)).collect::<candle_core::Result<Vec<_>>>();
            Tensor::stack(&parts?, 0)?.sum_all()
        };
        let [images, classes] = unsure_shares(w_teacher)?;
        let (on_second, on_first) = temperatures.split_at(ON_SECOND);
        let first = |t: f64| softened_kl(&w_kd, &w_kd_teacher, t);
        let mut instances = (over(temperatures, &first)? * images)?;
        instances = (instances + over(on_second, &|t| softened_kl(&s_kd, &s_kd_teacher, t))?)?;
        if !on_first.is_empty() {
            instances = (instances + over(on_first, &first)?)?;
        }
        let alike = (over(temperatures, &|t| class_correlation(w, w_teacher, t))? * classes)?;
        let batch = (over(temperatures, &|t| batch_correlation(w, w_teacher, t))? * images)?;
        let hard = (cross_entropy(w, step.labels)? + cross_entropy(s, step.labels)?)?;
        let mut terms = Vec::new();
        if *hard_weight != 0. {
            terms.push(Term::task("hard", hard, *hard_weight));
        }
        for (name, value) in [("instances", instances), ("classes", alike), ("batch", batch)] {
            terms.push(Term::teacher(name, value, *weight));
        }
        Ok(terms)
    }
}
