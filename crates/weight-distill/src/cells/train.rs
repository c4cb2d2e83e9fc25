//! `train`: an ordinary Transformer, from a random start, a part of the teacher, or a network that a generator was materialised to.
//!
//! Metrics: `bleu` (test set, as sacrebleu), `bleu-lower-case` (as multi-bleu.perl -lc on the same tokens), `parameters`, `updates` (with those of
//! `needs.start`); series
//! `convergence` (updates, validation BLEU found greedily).

use kd_core::model::generated_student::truncation::truncate;
use kd_core::model::transformer::Transformer;
use kd_core::params::Params;
use kd_core::run::{AnyError, CellResult};
use kd_core::translation::{Learner, SavedTransformer, WordDistillation};
use kd_core::{Error, frozen};

use super::{Course, Place, result};
use crate::spec::{Start, TrainCell};

/// Trains the network of `cell` and leaves it, its vocabularies, its translations and `epochs.csv` in the cell's folder.
///
/// # Errors
/// Those of training, and bad input when a needed network does not fit.
pub fn run(cell: &TrainCell, place: &Place) -> Result<CellResult, AnyError> {
    let (device, text) = (place.paper.device(), place.paper.text(&cell.text)?);
    let vocabularies = &text.vocabularies;
    let spec = cell.network.full(vocabularies.source.size(), vocabularies.target.size());
    let (params, vb) = Params::seeded(place.seed, device);
    let network = Transformer::new(&spec, vb)?;
    match cell.start {
        Start::Random => {}
        Start::Truncation => {
            let teacher = place.network("teacher", &text)?;
            params.set(&truncate(&params.snapshot()?, &spec, &teacher.tensors, &teacher.about.network)?)?;
        }
        Start::Network => {
            let start = place.network("start", &text)?;
            params.set(&start.tensors).map_err(|e| Error::bad_input(format!("needs.start: {e}")))?;
        }
    }
    let teacher = if cell.word_distillation > 0. { Some(place.network("teacher", &text)?) } else { None };
    let teacher = teacher.as_ref().map(|t| WordDistillation { teacher: &t.network, weight: cell.word_distillation });
    let course = Course {
        learner: Learner::Network(&network),
        params: &params,
        teacher,
        spec: &cell.train,
        search: &cell.search,
        measure_every: cell.measure_every,
    };
    let records = place.train(course, &text, &|| Ok(network.detached()))?;
    SavedTransformer::save(&place.dir.join(frozen::NETWORK), &params.snapshot()?, &spec, vocabularies)?;
    vocabularies.save(place.dir)?;
    let found = place.test(&network, &text, &cell.search)?;
    place.drop_state();
    let mut result = result(&found, params.count(), &records, &cell.train);
    if let [start] = place.needed.all("start") {
        // Rows are compared at equal updates, those of the phase before included.
        let before = start.result.metrics.get("updates").copied().unwrap_or_default();
        result.metrics.entry("updates".to_owned()).and_modify(|updates| *updates += before);
    }
    Ok(result)
}
