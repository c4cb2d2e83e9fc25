//! The plainer start that weight distillation is compared with: a part cut out of the teacher.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::classes::source_of;
use crate::transformer::TransformerSpec;
use kd_core::migration::cut;
use kd_core::{Error, Result};

/// The teacher's tensors cut to the shapes in `student_tensors`: of each subset of adjacent layers
/// (see [`super::classes`]) the first, and of each tensor the leading rows and columns.
///
/// # Errors
/// Bad input when the teacher lacks a tensor or one is smaller than the student's.
pub fn truncate(
    student_tensors: &BTreeMap<String, Tensor>,
    student: &TransformerSpec,
    teacher_tensors: &BTreeMap<String, Tensor>,
    teacher: &TransformerSpec,
) -> Result<BTreeMap<String, Tensor>> {
    let cut = |name: &String, wanted: &Tensor| -> Result<Tensor> {
        let source = source_of(name, student, teacher)?;
        let first = source.instances.first().and_then(|name| teacher_tensors.get(name));
        let tensor = first.ok_or_else(|| {
            Error::bad_input(format!("the teacher has nothing to cut {name} from"))
        })?;
        cut(name, tensor, wanted.dims())
    };
    student_tensors.iter().map(|(name, wanted)| Ok((name.clone(), cut(name, wanted)?))).collect()
}
