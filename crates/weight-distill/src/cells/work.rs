//! A cell at work: what the kinds of cells share.

use std::collections::BTreeMap;

use kd_base::message::count;
use kd_core::frozen::NETWORK;
use kd_core::params::Params;
use kd_core::train::{EpochRecord, Training, Trains, write_epochs};
use kd_experiment::{CellResult, Needed, Result, Series, Update};
use kd_paper::TrainingContext;
use kd_translation::bitext::{Bitext, sentence};
use kd_translation::token_batches::{BatchSize, TokenBatches, TokenPairs};
use kd_translation::transformer::Transformer;
use kd_translation::{
    Learner, Pairs, SavedTransformer, Search, Translated, TranslationSpec, TranslationTask,
    WordDistillation, evaluate,
};

use super::translations_file;
use crate::text::{Corpus, Text};

/// A network's translations of the test set, one a line.
pub const TRANSLATIONS: &str = "test.translations.txt";
/// The test set's BLEU, the metric that differences are taken of.
pub const BLEU: &str = "bleu";

/// The series of updates and validation BLEU.
pub const CONVERGENCE: &str = "convergence";

/// A cell at work.
pub struct Work<'a> {
    /// The text.
    pub corpus: &'a Corpus,
    /// Where it trains.
    pub context: TrainingContext<'a>,
    /// Cells that it needs.
    pub needed: &'a Needed,
}

/// A network to train, and the recipe.
pub struct TrainingJob<'a> {
    /// What learns.
    pub learner: Learner<'a>,
    /// Its parameters.
    pub params: &'a Params,
    /// The teacher of word-level distillation, if it has one.
    pub teacher: Option<WordDistillation<'a>>,
    /// The recipe.
    pub spec: &'a TranslationSpec,
    /// How translations are searched for; greedily where the validation set is measured.
    pub search: &'a Search,
    /// Epochs between two measurements; 0 for none.
    pub measure_every: usize,
}

impl Work<'_> {
    /// The network of the one cell in a role, which has to have been trained with the text's
    /// vocabularies.
    ///
    /// # Errors
    /// Bad input when the row names none, or its network belongs to another vocabulary.
    pub fn network(&self, role: &str, text: &Text) -> Result<SavedTransformer> {
        let saved =
            SavedTransformer::load(&self.needed.one(role)?.dir.join(NETWORK), self.context.device)?;
        saved.check(&text.vocabularies)?;
        Ok(saved)
    }

    /// The training text, and after it `needs.pseudo`'s, as batches.
    ///
    /// # Errors
    /// Bad input when the pseudo text is of another training text, or a pair is longer than a
    /// batch.
    pub fn batches(&self, text: &Text, spec: &TranslationSpec) -> Result<TokenBatches> {
        if text.cleaning.kept < text.cleaning.pairs_in {
            self.context.progress.note(&text.cleaning.to_string());
        }
        let mut pairs = text.vocabularies.encode(&text.train);
        if let [pseudo] = self.needed.all("pseudo") {
            let target = translations_file::read(&pseudo.dir, text.train.len())?;
            let target = target.iter().map(|line| sentence(line).into_owned()).collect();
            let more =
                text.vocabularies.encode(&Bitext { source: text.train.source.clone(), target });
            pairs.source.extend(more.source);
            pairs.target.extend(more.target);
        }
        let fits = |i: usize| pairs.source[i].len().max(pairs.target[i].len()) < spec.tokens;
        let kept: Vec<usize> = (0..pairs.len()).filter(|&i| fits(i)).collect();
        if kept.len() < pairs.len() {
            self.context.progress.note(&format!(
                "{} of more than {} left out",
                count(pairs.len() - kept.len(), "pair"),
                count(spec.tokens, "token")
            ));
        }
        let side = |all: &[Vec<u32>]| kept.iter().map(|&i| all[i].clone()).collect();
        let pairs = TokenPairs { source: side(&pairs.source), target: side(&pairs.target) };
        Ok(TokenBatches::new(pairs, BatchSize { tokens: spec.tokens, pairs: None })?)
    }

    /// Translates the test set and keeps the translations in the cell's folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn test(&self, network: &Transformer, text: &Text, search: &Search) -> Result<Translated> {
        let test = self.corpus.data()?;
        let found = evaluate(
            network,
            &text.vocabularies,
            &test.test.source,
            &test.test_references(),
            search,
            &mut self.counter(test.test.len()),
        )?;
        let lines: String = found.lines.iter().map(|line| format!("{line}\n")).collect();
        kd_base::atomic::write(&self.context.dir.join(TRANSLATIONS), lines.as_bytes())?;
        Ok(found)
    }

    /// BLEU on the validation set, greedily.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn validate(
        &self,
        network: &Transformer,
        text: &Text,
        search: &Search,
    ) -> kd_core::Result<f64> {
        let validation = &self.corpus.data()?.validation;
        let references: Vec<Vec<&str>> =
            validation.target.iter().map(|line| vec![line.as_str()]).collect();
        let greedy = Search { beam: 1, ..*search };
        Ok(evaluate(
            network,
            &text.vocabularies,
            &validation.source,
            &references,
            &greedy,
            &mut |_| (),
        )?
        .bleu)
    }

    /// Trains what `job` says on the text and writes `epochs.csv`. `current` gives the network
    /// as it is now, to be measured.
    ///
    /// # Errors
    /// Those of training.
    pub fn train(
        &self,
        job: TrainingJob,
        text: &Text,
        current: &(dyn Fn() -> kd_core::Result<Transformer> + Sync),
    ) -> Result<Vec<EpochRecord>> {
        let TrainingJob { learner, params, teacher, spec, search, measure_every } = job;
        let (device, batches) = (self.context.device, self.batches(text, spec)?);
        let measure = |epoch: usize| {
            let mut found = BTreeMap::new();
            if measure_every > 0 && (epoch + 1).is_multiple_of(measure_every) {
                found.insert(
                    "validation-bleu".to_owned(),
                    self.validate(&current()?, text, search)?,
                );
            }
            Ok(found)
        };
        let pairs = Pairs::new(&batches, self.context.seed)?;
        let task = TranslationTask {
            learner,
            params,
            teacher,
            pairs,
            spec,
            device,
            measure: Some(&measure),
        };
        let training = Training {
            params,
            trains: &Trains::All,
            earlier: &[],
            spec,
            epochs: spec.epochs(),
            average_epochs: spec.average_epochs,
            optimizer: &spec.optimizer,
            max_norm: None,
            seed: self.context.seed,
            device,
            state: Some(self.context.state()),
            resume: true,
            save_every: self.context.save_every,
        };
        let mut meter = self.context.meter(spec.epochs());
        let records = training.run(&task, &mut meter)?;
        write_epochs(&self.context.epochs(), &records)?;
        Ok(records)
    }

    /// Tells how many sentences are translated.
    pub fn counter(&self, all: usize) -> impl FnMut(usize) {
        move |done| {
            self.context.progress.update(&Update {
                phase: "translate",
                epoch: 1,
                epochs: 1,
                step: done,
                steps: all,
                ..Update::default()
            })
        }
    }
}

/// The metrics of a cell that trained.
pub const METRICS: [&str; 4] = [BLEU, "bleu-lower-case", "parameters", "updates"];

/// The result of a cell that trained: BLEU of the test set and what is known beside it.
pub fn result(
    found: &Translated,
    parameters: usize,
    records: &[EpochRecord],
    spec: &TranslationSpec,
) -> CellResult {
    let numbers = [found.bleu, found.tokenized_bleu, parameters as f64, spec.updates as f64];
    let curve = records.iter().filter_map(|r| {
        Some(vec![(r.epoch * spec.updates_per_epoch) as f64, *r.measured.get("validation-bleu")?])
    });
    let columns = ["updates", "validation-bleu"].map(str::to_owned).to_vec();
    CellResult {
        series: BTreeMap::from([(
            CONVERGENCE.to_owned(),
            Series { columns, rows: curve.collect() },
        )]),
        epochs: records.len() as u64,
        seconds: records.iter().map(|r| r.seconds).sum(),
        ..CellResult::of(METRICS, numbers)
    }
}
