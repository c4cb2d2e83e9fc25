//! "Class attention transfer based knowledge distillation" (Guo, Yan, Li and Lin, CVPR 2023).
//!
//! L = hard-weight · CE + weight · D(A_S, A_T), with the class activation maps A of student and
//! teacher, which are what a network's own classifier says of each place of its last map, and their
//! distance D, [`class_activation()`], at `side`² places. Gradients reach the student's classifier
//! from both terms.
//!
//! Source: section 3 and the official program. It makes the classifier of both networks a
//! convolution of 1×1 before the pooling, which is the same but for the bias:
//!
//! Deviation D1: the program's convolutions have no bias. It drops that of the teacher's
//! classifier, which changes what the teacher says, and trains its student without one. With `bias`
//! dropped the maps here are the program's, but the student's classifier keeps its bias, which CE
//! alone trains; with `bias` kept it counts in the maps of both networks, so that the mean of a
//! class's map is its logit.
//!
//! Deviation D2: the means of the places are taken before the classifier, which is the same and
//! costs less.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::classified::LastMaps;
use super::{Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_weight};
use crate::loss::cells::cell_logits;
use crate::loss::class_activation;
use crate::model::Classifier;
use crate::{Error, Result};

/// Class activation maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of the distance of the maps (β).
    pub weight: f64,
    /// Places in a row of the maps that are compared.
    pub side: usize,
    /// Whether the map of each class is brought to length 1 first.
    pub normalised: bool,
    /// What becomes of the classifiers' biases.
    pub bias: Bias,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
}

/// What becomes of the biases of the classifiers in class activation maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    /// They are left out, as in the official program.
    Dropped,
    /// Each is added to all places of its class's map.
    Kept,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }
}

/// Terms: `attention`, and those of [`LogitTerms`].
pub struct CatKd {
    spec: Spec,
    wants: Wants,
    maps: LastMaps,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        Error::unless_within("method.side", self.side, 1..=32)?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let maps = LastMaps::of(context, "cat-kd")?;
        Ok(Box::new(CatKd { spec: self.clone(), wants: maps.wants(), maps }))
    }
}

impl CatKd {
    /// The maps of all classes, `[batch, classes, side, side]`.
    fn activations(&self, map: &Tensor, classifier: &Classifier) -> Result<Tensor> {
        let side = self.spec.side;
        let bias = (self.spec.bias == Bias::Kept).then_some(&classifier.bias);
        let logits = cell_logits(map, &classifier.weight, bias, &[side])?.transpose(1, 2)?;
        let (batch, classes, _) = logits.dims3()?;
        Ok(logits.reshape((batch, classes, side, side))?)
    }
}

impl Distillation for CatKd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let [(s, of_student), (t, of_teacher)] = self.maps.of_step(step)?;
        let (student, teacher) =
            (self.activations(s, of_student)?, self.activations(t, of_teacher)?);
        let distance = class_activation(&student, &teacher, self.spec.side, self.spec.normalised)?;
        let mut terms = self.spec.logit_terms().terms(step)?;
        terms.push(Term::teacher("attention", distance, self.spec.weight));
        Ok(terms)
    }
}
