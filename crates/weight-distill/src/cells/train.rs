//! `train`: an ordinary Transformer, from a random start, a part of the teacher, or a network that
//! a generator was materialised to.
//!
//! Metrics: `bleu` (test set, as sacrebleu), `bleu-lower-case` (as multi-bleu.perl -lc on the same
//! tokens), `parameters`, `updates` (with those of `needs.start`); series
//! `convergence` (updates, validation BLEU found greedily).

use kd_core::Error;
use kd_core::params::Params;
use kd_experiment::{CellResult, Result};
use kd_translation::generated_student::truncation::truncate;
use kd_translation::transformer::Transformer;
use kd_translation::{Learner, SavedTransformer, WordDistillation};

use super::work::{TrainingJob, Work, result};
use crate::spec::{Start, TrainCell};

/// Trains the network of `cell` and leaves it, its vocabularies, its translations and `epochs.csv`
/// in the cell's folder.
///
/// # Errors
/// Those of training, and bad input when a needed network does not fit.
pub fn run(cell: &TrainCell, work: &Work) -> Result<CellResult> {
    let (device, text) = (work.context.device, work.corpus.text(&cell.text)?);
    let vocabularies = &text.vocabularies;
    let spec = cell.network.full(vocabularies.source.size(), vocabularies.target.size());
    let (params, vb) = Params::seeded(work.context.seed, device);
    let network = Transformer::new(&spec, vb)?;
    match cell.start {
        Start::Random => {}
        Start::Truncation => {
            let teacher = work.network("teacher", &text)?;
            params.set(&truncate(
                &params.snapshot()?,
                &spec,
                &teacher.tensors,
                &teacher.about.network,
            )?)?;
        }
        Start::Network => {
            let start = work.network("start", &text)?;
            params
                .set(&start.tensors)
                .map_err(|e| Error::bad_input(format!("needs.start: {e}")))?;
        }
    }
    let teacher =
        if cell.word_distillation > 0. { Some(work.network("teacher", &text)?) } else { None };
    let teacher = teacher
        .as_ref()
        .map(|t| WordDistillation { teacher: &t.network, weight: cell.word_distillation });
    let job = TrainingJob {
        learner: Learner::Network(&network),
        params: &params,
        teacher,
        spec: &cell.train,
        search: &cell.search,
        measure_every: cell.measure_every,
    };
    let records = work.train(job, &text, &|| Ok(network.detached()))?;
    SavedTransformer::save(&work.context.network(), &params.snapshot()?, &spec, vocabularies)?;
    vocabularies.save(work.context.dir)?;
    let found = work.test(&network, &text, &cell.search)?;
    work.context.drop_state();
    let mut result = result(&found, params.count(), &records, &cell.train);
    if let [start] = work.needed.all("start") {
        // Rows are compared at equal updates, those of the phase before included.
        let before = start.result.metrics.get("updates").copied().unwrap_or_default();
        result.metrics.entry("updates".to_owned()).and_modify(|updates| *updates += before);
    }
    Ok(result)
}
