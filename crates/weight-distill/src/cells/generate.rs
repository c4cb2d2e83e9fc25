//! `generate`: the first phase of weight distillation. The generator's parameters train; the
//! network that it is materialised to is what the second phase, a `train` cell with `start =
//! "network"`, begins with.
//!
//! Metrics: those of `train`, of the materialised student, and `generator-parameters`.

use kd_core::params::Params;
use kd_experiment::{CellResult, Result};
use kd_translation::generated_student::GeneratedStudent;
use kd_translation::{Learner, SavedTransformer};

use super::work::{TrainingJob, Work, result};
use crate::generator_file;
use crate::spec::GenerateCell;

/// The metric that it has beside those of training.
pub const GENERATOR_PARAMETERS: &str = "generator-parameters";

/// Trains the generator of `cell` and leaves it, the network that it is materialised to,
/// translations and `epochs.csv` in the cell's folder.
///
/// # Errors
/// Those of training, and bad input when the teacher does not fit.
pub fn run(cell: &GenerateCell, work: &Work) -> Result<CellResult> {
    let (device, text) = (work.context.device, work.corpus.text(&cell.text)?);
    let vocabularies = &text.vocabularies;
    let spec = cell.network.full(vocabularies.source.size(), vocabularies.target.size());
    let teacher = work.network("teacher", &text)?;
    let (params, vb) = Params::seeded(work.context.seed, device);
    let student = GeneratedStudent::new(
        &spec,
        &teacher.about.network,
        &teacher.tensors,
        &cell.generator,
        &vb,
    )?;
    // Weights that are not computed are drawn when the student is first made: the optimiser has to
    // know them.
    student.student()?;
    let job = TrainingJob {
        learner: Learner::Generated(&student),
        params: &params,
        teacher: None,
        spec: &cell.train,
        search: &cell.search,
        measure_every: cell.measure_every,
    };
    let records = work.train(job, &text, &|| student.student())?;
    generator_file::save(
        &work.context.dir.join(generator_file::NAME),
        &params,
        &cell.generator,
        &spec,
        &teacher,
    )?;
    let tensors = student.materialise()?;
    let parameters = tensors.values().map(|t| t.elem_count()).sum();
    SavedTransformer::save(&work.context.network(), &tensors, &spec, vocabularies)?;
    vocabularies.save(work.context.dir)?;
    let saved = SavedTransformer::load(&work.context.network(), device)?;
    let found = work.test(&saved.network, &text, &cell.search)?;
    work.context.drop_state();
    let mut result = result(&found, parameters, &records, &cell.train);
    result.metrics.insert(GENERATOR_PARAMETERS.to_owned(), params.count() as f64);
    Ok(result)
}
