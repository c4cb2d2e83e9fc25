//! The paper as the runner sees it: how its cells are checked and computed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use kd_core::data::bitext::{self, BitextSplits};
use kd_core::data::{OnDemand, Provenance};
use kd_core::run::{AnyError, Cell, CellDir, CellResult, Needed, Needs, Paper, Progress, Table};
use kd_core::{Result, Seed, device};

use crate::cells::{self, Place};
use crate::figures;
use crate::spec::{CellSpec, TextPart};
use crate::text::{Text, Texts};

/// Lin, Li, Wang, Li, Du, Xiao and Zhu 2021.
pub struct WeightDistillation {
    device: Device,
    save_every: Duration,
    data: OnDemand<BitextSplits>,
    texts: Texts,
}

impl WeightDistillation {
    /// The name of its experiments, runs and results folders.
    pub const NAME: &str = "weight-distill";

    /// The paper on this text and device, saving the state of a network in training no oftener than `save_every`. Nothing is
    /// loaded until [`WeightDistillation::data`] is called.
    pub fn new(request: bitext::Request, device: Device, save_every: Duration) -> Self {
        Self { data: OnDemand::new(move || bitext::load(&request)), device, save_every, texts: Texts::default() }
    }

    /// The text, found, downloaded or generated at the first call.
    ///
    /// # Errors
    /// As [`bitext::load`].
    pub fn data(&self) -> Result<&(BitextSplits, Provenance)> {
        self.data.get()
    }

    /// The training text that `part` describes, with its vocabularies.
    ///
    /// # Errors
    /// As [`bitext::load`], and where nothing is left to train on.
    pub fn text(&self, part: &TextPart) -> Result<Arc<Text>> {
        self.texts.get(part, &self.data()?.0)
    }

    /// Where its networks compute.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Paper for WeightDistillation {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn check(&self, cell: &Cell, needs: &Needs) -> Result<(), AnyError> {
        CellSpec::read(cell)?.check_needs(needs)
    }

    fn metrics(&self, cell: &Cell, needs: &Needs) -> Result<Option<Vec<String>>, AnyError> {
        let names = match (CellSpec::read(cell)?, needs.all("of")) {
            (CellSpec::Quoted(_), &[of]) => return self.metrics(of, &Needs::default()),
            (CellSpec::Train(_), _) => cells::METRICS.to_vec(),
            (CellSpec::Generate(_), _) => [&cells::METRICS[..], &[cells::generate::GENERATOR_PARAMETERS]].concat(),
            (CellSpec::Pseudo(_), _) => cells::pseudo::METRICS.to_vec(),
            (CellSpec::Speed(_), _) => cells::speed::METRICS.to_vec(),
            (CellSpec::Difference(_), _) => vec![cells::difference::DIFFERENCE],
            (CellSpec::Quoted(_), _) => return Ok(None),
        };
        Ok(Some(names.into_iter().map(str::to_owned).collect()))
    }

    fn run(&self, cell: &Cell, dir: &CellDir, needed: &Needed, progress: &dyn Progress) -> Result<CellResult, AnyError> {
        let place = Place { paper: self, dir: dir.path(), seed: Seed(cell.seed), save_every: self.save_every, needed, progress };
        let mut result = match CellSpec::read(cell)? {
            CellSpec::Train(spec) => cells::train::run(&spec, &place)?,
            CellSpec::Pseudo(spec) => cells::pseudo::run(&spec, &place)?,
            CellSpec::Generate(spec) => cells::generate::run(&spec, &place)?,
            CellSpec::Speed(spec) => cells::speed::run(&spec, &place)?,
            CellSpec::Difference(_) => cells::difference::run(&place)?,
            CellSpec::Quoted(_) => cells::quoted::run(&place)?,
        };
        result.device = device::name(&self.device);
        Ok(result)
    }

    fn cost(&self, cell: &Cell) -> Option<f64> {
        CellSpec::read(cell).ok()?.seconds_on_two_cores()
    }

    fn decorate(&self, table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>, AnyError> {
        figures::draw(table, out_dir)
    }
}
