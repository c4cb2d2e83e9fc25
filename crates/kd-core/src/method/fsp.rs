//! The flow of solution procedure: "A gift from knowledge distillation: fast optimization, network
//! minimization and transfer learning" (Yim, Joo, Bae and Kim, CVPR 2017), as the CRD benchmark
//! runs it.
//!
//! L = weight · Σ_l D((S_l, S_{l+1}), (T_l, T_{l+1})) + hard-weight · CE, over the pairs of
//! consecutive maps of student and teacher, stem and stages after their activations, where D is the
//! mean squared distance of the matrices of flow, [`solution_flow()`]. There are no adapters: both
//! networks must have the same number of stages and the same channels.
//!
//! The method has two phases: this loss alone, with hard-weight 0, moves the student's stages for
//! some epochs (30 in the benchmark, weight 1); then the student trains as usual, with hard or soft
//! targets.

use serde::{Deserialize, Serialize};

use super::stages::weighted_stages;
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Teaching, Term, Wants, check_weight,
};
use crate::loss::operands::pooling;
use crate::loss::solution_flow;
use crate::model::{Activated, Model, Tap};
use crate::{Error, Result};

/// The first phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the flow.
    pub weight: f64,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }
}

/// Terms: `flow`, and those of [`LogitTerms`].
pub struct SolutionFlow {
    weight: f64,
    wants: Wants,
    logits: LogitTerms,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let (student, teacher) = (maps(context.student())?, maps(context.teacher_model()?)?);
        let channels = |maps: &[&Tap]| maps.iter().map(|tap| tap.channels).collect::<Vec<_>>();
        if channels(&student) != channels(&teacher) {
            let what = format!(
                "fsp: expected a student with the teacher's channels {:?} of stem and stages",
                channels(&teacher)
            );
            return Err(Error::bad_input(format!("{what}, got {:?}", channels(&student))));
        }
        for maps in [&student, &teacher] {
            if let Some(pair) =
                maps.windows(2).find(|pair| pooling(size(pair[0]), size(pair[1])).is_none())
            {
                let what = format!(
                    "fsp: expected one side of {} and {} to be a multiple of the other",
                    pair[0].name, pair[1].name
                );
                return Err(Error::bad_input(format!(
                    "{what}, got {} and {}",
                    pair[0].side(),
                    pair[1].side()
                )));
            }
        }
        let names = |maps: &[&Tap]| maps.iter().map(|tap| tap.name.clone()).collect::<Vec<_>>();
        let wants = Wants {
            student_taps: names(&student),
            teaching: Teaching::Live { taps: names(&teacher) },
            ..Wants::default()
        };
        Ok(Box::new(SolutionFlow { weight: self.weight, wants, logits: self.logit_terms() }))
    }
}

impl Distillation for SolutionFlow {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (&step.student()?.taps, &step.teacher()?.taps);
        let pairs = student.windows(2).zip(teacher.windows(2));
        let distances = pairs
            .map(|(s, t)| Ok(solution_flow((&s[0], &s[1]), (&t[0], &t[1]))?))
            .collect::<Result<_>>()?;
        let mut terms = self.logits.terms(step)?;
        terms.push(Term::teacher("flow", weighted_stages(distances, 1.)?, self.weight));
        Ok(terms)
    }
}

/// Stem and stages, after their activations.
fn maps(network: &dyn Model) -> Result<Vec<&Tap>> {
    let mut maps = vec![network.tap("stem")?];
    maps.extend(network.stages(Activated::After));
    Ok(maps)
}

fn size(tap: &Tap) -> (usize, usize) {
    (tap.side(), tap.side())
}
