//! `train`: an ordinary Transformer, from a random start, a part of the teacher, or a network that a generator was materialised to.
//!
//! Metrics: `bleu` (test set, as sacrebleu), `bleu-lower-case` (as multi-bleu.perl -lc on the same tokens), `parameters`, `updates` (with those of
//! `needs.start`); series
//! `convergence` (updates, validation BLEU found greedily).

use std::collections::BTreeMap;

use kd_core::model::generated_student::truncation::truncate;
use kd_core::model::transformer::Transformer;
use kd_core::params::Params;
use kd_core::run::{AnyError, CellResult, Meter};
use kd_core::train::{Training, write_epochs};
use kd_core::translation::{Learner, Pairs, SavedTransformer, Translations, WordDistillation};
use kd_core::{Error, frozen};

use super::{Place, STATE, result};
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
    let batches = place.batches(&text, &cell.train)?;
    let measure = |epoch: usize| {
        let mut found = BTreeMap::new();
        if cell.measure_every > 0 && (epoch + 1).is_multiple_of(cell.measure_every) {
            found.insert("validation-bleu".to_owned(), place.validate(&network, &text, &cell.search)?);
        }
        Ok(found)
    };
    let task = Translations {
        learner: Learner::Network(&network),
        params: &params,
        teacher,
        pairs: Pairs::new(&batches, place.seed)?,
        spec: &cell.train,
        device,
        measure: Some(&measure),
    };
    let state = place.dir.join(STATE);
    let training = Training {
        params: &params,
        spec: &cell.train,
        epochs: cell.train.epochs(),
        average_epochs: cell.train.average_epochs,
        optimizer: &cell.train.optimizer,
        max_norm: None,
        seed: place.seed,
        device,
        state: Some(state.clone()),
        save_every: place.save_every,
    };
    let mut meter = Meter::new(place.progress, cell.train.epochs());
    let records = training.run(&task, &mut |record| meter.observe(record))?;
    write_epochs(&place.dir.join("epochs.csv"), &records)?;
    SavedTransformer::save(&place.dir.join(frozen::NETWORK), &params.snapshot()?, &spec, vocabularies)?;
    vocabularies.save(place.dir)?;
    let found = place.test(&network, &text, &cell.search)?;
    // The network is written: the state, three times its size, has served. A failure here costs disk space only.
    let _ = std::fs::remove_file(state);
    let mut result = result(&found, params.count(), &records, &cell.train);
    if let [start] = place.needed.all("start") {
        // Rows are compared at equal updates, those of the phase before included.
        let before = start.result.metrics.get("updates").copied().unwrap_or_default();
        result.metrics.entry("updates".to_owned()).and_modify(|updates| *updates += before);
    }
    Ok(result)
}
