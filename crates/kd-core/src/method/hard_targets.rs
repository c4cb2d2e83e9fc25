//! Training on the labels alone.

use serde::{Deserialize, Serialize};

use super::{Context, Distillation, Recipe, Step, Term, Wants};
use crate::Result;
use crate::loss::cross_entropy;

/// The baseline without a teacher; it has no hyper-parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {}

/// One term, `hard`: cross-entropy of the logits with the labels, mean over the batch.
#[derive(Default)]
pub struct HardTargets {
    wants: Wants,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn needs_teacher(&self) -> bool {
        false
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Distillation>> {
        Ok(Box::new(HardTargets::default()))
    }
}

impl Distillation for HardTargets {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        Ok(vec![Term::task("hard", cross_entropy(&step.student()?.logits, step.labels)?, 1.)])
    }
}
