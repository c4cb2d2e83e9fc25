//! The paper as the runner sees it: how its cells are checked and computed, and which figures its tables have.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::Device;
use kd_core::data::mnist::{self, Mnist};
use kd_core::data::{OnDemand, Provenance};
use kd_core::run::{AnyError, Cell, CellDir, CellResult, Finished, Meter, Needed, Needs, Paper, Progress, Table};
use kd_core::{Result, Seed, device};

use crate::spec::{CellSpec, TrainCell};
use crate::{cells, figures};

/// Hinton, Vinyals and Dean 2015, section 3.
pub struct HintonMnist {
    device: Device,
    save_every: Duration,
    data: OnDemand<Mnist>,
}

impl HintonMnist {
    /// The name of its experiments, runs and results folders.
    pub const NAME: &str = "hinton-mnist";

    /// The paper on this data and device, saving the state of a network in training no oftener than `save_every`. Nothing is
    /// loaded until [`HintonMnist::data`] is called.
    pub fn new(request: mnist::Request, device: Device, save_every: Duration) -> Self {
        Self { data: OnDemand::new(move || mnist::load(&request)), device, save_every }
    }

    /// The data, found, downloaded or generated at the first call.
    ///
    /// # Errors
    /// As [`mnist::load`].
    pub fn data(&self) -> Result<&(Mnist, Provenance)> {
        self.data.get()
    }

    /// Where its networks compute.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn train(&self, spec: &TrainCell, cell: &Cell, dir: &CellDir, needed: &Needed, progress: &dyn Progress) -> Result<CellResult> {
        let data = &self.data()?.0;
        let teachers: Vec<&Path> = needed.all("teacher").iter().map(|f| f.dir.as_path()).collect();
        let started = Instant::now();
        let mut meter = Meter::new(progress, spec.train.epochs);
        let place = cells::train::Place { dir: dir.path(), device: &self.device, save_every: self.save_every };
        let mut result = cells::train::run(spec, Seed(cell.seed), data, &place, &teachers, &mut meter)?;
        result.seconds = meter.seconds().max(started.elapsed().as_secs_f64());
        Ok(result)
    }
}

impl Paper for HintonMnist {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn check(&self, cell: &Cell, needs: &Needs) -> Result<(), AnyError> {
        CellSpec::read(cell)?.check_needs(needs)
    }

    fn metrics(&self, cell: &Cell, _needs: &Needs) -> Result<Option<Vec<String>>, AnyError> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Ok(Some(match CellSpec::read(cell)? {
            CellSpec::Train(spec) => cells::train::metrics(&spec).map(str::to_owned).collect(),
            CellSpec::Bias(_) => cells::bias::metrics().collect(),
            CellSpec::Ensemble(_) => owned(&cells::ensemble::METRICS),
            CellSpec::GradientLimit(_) => owned(&cells::gradient_limit::METRICS),
            CellSpec::SoftTargets(_) => owned(&cells::soft_targets::METRICS),
        }))
    }

    fn run(&self, cell: &Cell, dir: &CellDir, needed: &Needed, progress: &dyn Progress) -> Result<CellResult, AnyError> {
        let data = &self.data()?.0;
        let paths = |finished: &[Finished]| finished.iter().map(|f| f.dir.clone()).collect::<Vec<_>>();
        let mut result = match CellSpec::read(cell)? {
            CellSpec::Train(spec) => self.train(&spec, cell, dir, needed, progress)?,
            CellSpec::Bias(spec) => cells::bias::run(&spec, Seed(cell.seed), data, &needed.one("student")?.dir)?,
            CellSpec::Ensemble(spec) => {
                let members = paths(needed.all("members"));
                cells::ensemble::run(&spec, data, &members.iter().map(PathBuf::as_path).collect::<Vec<_>>())?
            }
            CellSpec::GradientLimit(spec) => cells::gradient_limit::run(&spec, &needed.one("student")?.dir, &needed.one("teacher")?.dir)?,
            CellSpec::SoftTargets(spec) => cells::soft_targets::run(&spec, data, &needed.one("teacher")?.dir)?,
        };
        result.device = device::name(&self.device);
        Ok(result)
    }

    fn cost(&self, cell: &Cell) -> Option<f64> {
        match CellSpec::read(cell).ok()? {
            CellSpec::Train(spec) => Some(spec.seconds_on_two_cores()),
            _ => Some(1.),
        }
    }

    fn decorate(&self, table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>, AnyError> {
        figures::draw(table, out_dir)
    }
}
