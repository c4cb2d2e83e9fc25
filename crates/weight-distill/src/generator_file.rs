//! A generator's file: its parameters and the teacher's tensors, so that it can be materialised
//! without anything else.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use kd_core::params::Params;
use kd_core::train::checkpoint;
use kd_core::{Error, Result};
use kd_translation::SavedTransformer;
use kd_translation::generated_student::{GeneratedStudent, GeneratorSpec};
use kd_translation::saved::About;
use kd_translation::transformer::TransformerSpec;
use serde::{Deserialize, Serialize};

/// The file in a cell's folder.
pub const NAME: &str = "generator.safetensors";

/// What the file says beside its tensors.
#[derive(Serialize, Deserialize)]
struct AboutGenerator {
    generator: GeneratorSpec,
    student: TransformerSpec,
    teacher: About,
}

/// Writes a generator with its teacher.
///
/// # Errors
/// When the file cannot be written.
pub fn save(
    path: &Path,
    params: &Params,
    generator: &GeneratorSpec,
    student: &TransformerSpec,
    teacher: &SavedTransformer,
) -> Result<()> {
    let mut tensors: BTreeMap<String, Tensor> =
        params.snapshot()?.into_iter().map(|(n, t)| (format!("parameters/{n}"), t)).collect();
    tensors.extend(teacher.tensors.iter().map(|(n, t)| (format!("teacher/{n}"), t.clone())));
    let about = AboutGenerator {
        generator: generator.clone(),
        student: student.clone(),
        teacher: teacher.about.clone(),
    };
    checkpoint::save(path, &tensors, &about)
}

/// The ordinary student of a generator's file, with its description.
///
/// # Errors
/// Bad input when the file is no generator's.
pub fn materialise(path: &Path, device: &Device) -> Result<(BTreeMap<String, Tensor>, About)> {
    let (tensors, about) = checkpoint::load::<AboutGenerator>(path, device)?;
    let part = |prefix: &str| -> BTreeMap<String, Tensor> {
        tensors
            .iter()
            .filter_map(|(n, t)| Some((n.strip_prefix(prefix)?.to_owned(), t.clone())))
            .collect()
    };
    let student = GeneratedStudent::frozen(
        &about.student,
        &about.teacher.network,
        &part("teacher/"),
        &about.generator,
        part("parameters/"),
        device,
    )
    .map_err(|e| match e {
        Error::BadInput(what) => Error::BadInput(format!("{}: {what}", path.display())),
        other => other,
    })?;
    Ok((student.materialise()?, About { network: about.student, ..about.teacher }))
}
