//! `generate`: the first phase of weight distillation. The generator's parameters train; the network that it is materialised to is what the
//! second phase, a `train` cell with `start = "network"`, begins with.
//!
//! Metrics: those of `train`, of the materialised student, and `generator-parameters`.

use kd_core::frozen;
use kd_core::model::generated_student::GeneratedStudent;
use kd_core::params::Params;
use kd_core::run::{AnyError, CellResult};
use kd_core::translation::{Learner, SavedTransformer};

use super::{Course, Place, result};
use crate::generator_file;
use crate::spec::GenerateCell;

/// The metric that it has beside those of training.
pub const GENERATOR_PARAMETERS: &str = "generator-parameters";

/// Trains the generator of `cell` and leaves it, the network that it is materialised to, translations and `epochs.csv` in the cell's folder.
///
/// # Errors
/// Those of training, and bad input when the teacher does not fit.
pub fn run(cell: &GenerateCell, place: &Place) -> Result<CellResult, AnyError> {
    let (device, text) = (place.paper.device(), place.paper.text(&cell.text)?);
    let vocabularies = &text.vocabularies;
    let spec = cell.network.full(vocabularies.source.size(), vocabularies.target.size());
    let teacher = place.network("teacher", &text)?;
    let (params, vb) = Params::seeded(place.seed, device);
    let student = GeneratedStudent::new(&spec, &teacher.about.network, &teacher.tensors, &cell.generator, &vb)?;
    // Weights that are not computed are drawn when the student is first made: the optimiser has to know them.
    student.student()?;
    let course = Course {
        learner: Learner::Generated(&student),
        params: &params,
        teacher: None,
        spec: &cell.train,
        search: &cell.search,
        measure_every: cell.measure_every,
    };
    let records = place.train(course, &text, &|| student.student())?;
    generator_file::save(&place.dir.join(generator_file::NAME), &params, &cell.generator, &spec, &teacher)?;
    let tensors = student.materialise()?;
    let parameters = tensors.values().map(|t| t.elem_count()).sum();
    SavedTransformer::save(&place.dir.join(frozen::NETWORK), &tensors, &spec, vocabularies)?;
    vocabularies.save(place.dir)?;
    let saved = SavedTransformer::load(&place.dir.join(frozen::NETWORK), device)?;
    let found = place.test(&saved.network, &text, &cell.search)?;
    place.drop_state();
    let mut result = result(&found, parameters, &records, &cell.train);
    result.metrics.insert(GENERATOR_PARAMETERS.to_owned(), params.count() as f64);
    Ok(result)
}
