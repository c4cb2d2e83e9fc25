//! A saved translator by the name that a user gives it.

use std::path::Path;

use candle_core::Device;
use kd_experiment::Result;
use kd_experiment::cli::Application;
use kd_paper::compare::find_network;
use kd_translation::bpe::Vocabularies;
use kd_translation::{SavedTransformer, Search};

use crate::paper::WeightDistillation;

/// A network with its vocabularies.
pub struct Model {
    /// The network.
    pub saved: SavedTransformer,
    /// The vocabularies beside its file.
    pub vocabularies: Vocabularies,
}

impl Model {
    /// Loads what `name` means: a file with its vocabularies beside it, a cell's folder, or
    /// `TABLE/ROW[#SEED]`.
    ///
    /// # Errors
    /// Bad input when the name means no network, or the vocabularies are missing or of another
    /// network.
    pub fn load(
        name: &str,
        application: &Application<WeightDistillation>,
        device: &Device,
    ) -> Result<Self> {
        let file = find_network(name, application)?;
        let saved = SavedTransformer::load(&file, device)?;
        let vocabularies = Vocabularies::load(file.parent().unwrap_or(Path::new(".")))?;
        saved.check(&vocabularies)?;
        Ok(Self { saved, vocabularies })
    }
}

/// How translations are searched for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct SearchArguments {
    /// Hypotheses kept for each sentence; 1 takes the best word each time
    #[arg(long, default_value_t = 4)]
    beam: usize,
    /// A hypothesis of n words scores ln p / n^PENALTY
    #[arg(long, default_value_t = 1.0, value_name = "PENALTY")]
    length_penalty: f64,
    /// The longest translation has FACTOR times the source's vocabulary units, and --length-extra
    /// more
    #[arg(long, default_value_t = 2.0, value_name = "FACTOR")]
    length_factor: f64,
    /// See --length-factor
    #[arg(long, default_value_t = 20, value_name = "UNITS")]
    length_extra: usize,
    /// Sentences that are translated together; `translate` reads eight times as many before it
    /// answers, or with 1 a line at a time
    #[arg(long, default_value_t = 64)]
    batch: usize,
}

impl SearchArguments {
    /// As the library takes them.
    ///
    /// # Errors
    /// Bad input when a number is outside its domain.
    pub fn search(&self) -> Result<Search> {
        let Self { beam, length_penalty, length_factor, length_extra, batch } = *self;
        let search = Search { beam, length_penalty, length_factor, length_extra, batch };
        Ok(search.check().map(|()| search)?)
    }
}
