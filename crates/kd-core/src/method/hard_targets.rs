//! Training on the labels alone.

use super::{Distillation, Step, Term, Wants};
use crate::Result;
use crate::loss::cross_entropy;

/// The baseline without a teacher. One term, `hard`: cross-entropy of the logits with the labels, mean over the batch.
pub struct HardTargets;

impl Distillation for HardTargets {
    fn wants(&self) -> Wants {
        Wants::default()
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        Ok(vec![Term { name: "hard", value: cross_entropy(&step.student.logits, step.labels)?, weight: 1. }])
    }
}
