//! The paper as the runner sees it: how its cells are checked and computed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use candle_core::Device;
use kd_core::data::cifar::{self, Cifar};
use kd_core::data::{OnDemand, Provenance};
use kd_core::run::{AnyError, Cell, CellDir, CellResult, Meter, Needed, Needs, Paper, Progress, Table};
use kd_core::{Result, Seed, device};

use crate::cells::train::TeacherCell;
use crate::cells::{self, Place};
use crate::spec::CellSpec;
use crate::teachers::Files;

/// The files of imported teachers, which become known when the command line's options are applied.
#[derive(Default)]
struct KnownFiles(Mutex<Files>);

impl KnownFiles {
    fn lock(&self) -> MutexGuard<'_, Files> {
        // The value is whole at any time: it is replaced at once.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, sha256: &str) -> Option<PathBuf> {
        self.lock().get(sha256).cloned()
    }
}

/// Chen, Liu, Zhao and Jia 2021.
pub struct ReviewKd {
    device: Device,
    save_every: Duration,
    data: OnDemand<Cifar>,
    teachers: KnownFiles,
}

impl ReviewKd {
    /// The name of its experiments, runs and results folders.
    pub const NAME: &str = "reviewkd-cifar";

    /// The paper on this data and device, saving the state of a network in training no oftener than `save_every`. Nothing is
    /// loaded until [`ReviewKd::data`] is called.
    pub fn new(request: cifar::Request, device: Device, save_every: Duration) -> Self {
        Self { data: OnDemand::new(move || cifar::load(&request)), device, save_every, teachers: KnownFiles::default() }
    }

    /// The data, found, downloaded or generated at the first call.
    ///
    /// # Errors
    /// As [`cifar::load`].
    pub fn data(&self) -> Result<&(Cifar, Provenance)> {
        self.data.get()
    }

    /// Says where the files of imported teachers lie.
    pub fn set_teachers(&self, files: Files) {
        *self.teachers.lock() = files;
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

    fn metrics(&self, cell: &Cell, _needs: &Needs) -> Result<Option<Vec<String>>, AnyError> {
        let names: &[&str] = match CellSpec::read(cell)? {
            CellSpec::Train(_) => &cells::train::METRICS,
            CellSpec::Imported(_) => &cells::imported::METRICS,
        };
        Ok(Some(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    fn run(&self, cell: &Cell, dir: &CellDir, needed: &Needed, progress: &dyn Progress) -> Result<CellResult, AnyError> {
        let data = &self.data()?.0;
        let place = Place { dir: dir.path(), device: &self.device, data, data_name: &cell.data, save_every: self.save_every };
        let started = Instant::now();
        let mut result = match CellSpec::read(cell)? {
            CellSpec::Imported(spec) => cells::imported::run(&spec, self.teachers.get(&spec.sha256).as_deref(), &place)?,
            CellSpec::Train(spec) => {
                let teacher = needed.all("teacher").first();
                let teacher = teacher.map(|cell| TeacherCell { dir: &cell.dir, name: cell.cell.id.as_str() });
                let mut meter = Meter::new(progress, spec.epochs());
                let mut result = cells::train::run(&spec, Seed(cell.seed), &place, teacher, &mut meter)?;
                result.seconds = meter.seconds().max(started.elapsed().as_secs_f64());
                result
            }
        };
        result.device = device::name(&self.device);
        Ok(result)
    }

    fn cost(&self, cell: &Cell) -> Option<f64> {
        match CellSpec::read(cell).ok()? {
            CellSpec::Train(spec) => Some(spec.seconds_on_two_cores()),
            CellSpec::Imported(_) => None,
        }
    }

    fn decorate(&self, _table: &Table, _out_dir: &Path) -> Result<Vec<PathBuf>, AnyError> {
        Ok(Vec::new())
    }
}
