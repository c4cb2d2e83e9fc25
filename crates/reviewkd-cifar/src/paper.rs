//! The paper as the runner sees it: how its cells are checked and computed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::Device;
use kd_core::data::cifar::{self, Cifar};
use kd_core::data::{OnDemand, Provenance};
use kd_core::run::{AnyError, Cell, CellDir, CellResult, Meter, Needed, Needs, Paper, Progress, Table};
use kd_core::{Result, Seed, device};

use crate::cells;
use crate::spec::CellSpec;

/// Chen, Liu, Zhao and Jia 2021.
pub struct ReviewKd {
    device: Device,
    save_every: Duration,
    data: OnDemand<Cifar>,
}

impl ReviewKd {
    /// The name of its experiments, runs and results folders.
    pub const NAME: &str = "reviewkd-cifar";

    /// The paper on this data and device, saving the state of a network in training no oftener than `save_every`. Nothing is
    /// loaded until [`ReviewKd::data`] is called.
    pub fn new(request: cifar::Request, device: Device, save_every: Duration) -> Self {
        Self { data: OnDemand::new(move || cifar::load(&request)), device, save_every }
    }

    /// The data, found, downloaded or generated at the first call.
    ///
    /// # Errors
    /// As [`cifar::load`].
    pub fn data(&self) -> Result<&(Cifar, Provenance)> {
        self.data.get()
    }

    /// Where its networks compute.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Paper for ReviewKd {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn check(&self, cell: &Cell, needs: &Needs) -> Result<(), AnyError> {
        CellSpec::read(cell)?.check_needs(needs)
    }

    fn metrics(&self, _cell: &Cell, _needs: &Needs) -> Result<Option<Vec<String>>, AnyError> {
        Ok(Some(cells::train::METRICS.map(str::to_owned).to_vec()))
    }

    fn run(&self, cell: &Cell, dir: &CellDir, _needed: &Needed, progress: &dyn Progress) -> Result<CellResult, AnyError> {
        let data = &self.data()?.0;
        let CellSpec::Train(spec) = CellSpec::read(cell)?;
        let started = Instant::now();
        let mut meter = Meter::new(progress, spec.train.epochs);
        let place = cells::train::Place { dir: dir.path(), device: &self.device, save_every: self.save_every };
        let mut result = cells::train::run(&spec, Seed(cell.seed), data, &place, &mut meter)?;
        result.seconds = meter.seconds().max(started.elapsed().as_secs_f64());
        result.device = device::name(&self.device);
        Ok(result)
    }

    fn cost(&self, cell: &Cell) -> Option<f64> {
        let CellSpec::Train(spec) = CellSpec::read(cell).ok()?;
        Some(spec.seconds_on_two_cores())
    }

    fn decorate(&self, _table: &Table, _out_dir: &Path) -> Result<Vec<PathBuf>, AnyError> {
        Ok(Vec::new())
    }
}
