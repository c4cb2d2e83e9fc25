//! The paper as the runner sees it: how its cells are checked and computed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kd_core::data::{OnDemand, Provenance};
use kd_experiment::{Cell, CellResult, DataIdentity, Job, Needs, Paper, Result, Table};
use kd_paper::{Machine, TrainingContext};

use crate::cells::train::TeacherCell;
use crate::cells::{self, Work};
use crate::data::{Images, Request, TrainLabels};
use crate::figures;
use crate::spec::CellSpec;
use crate::stored_teacher::Stores;
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
    machine: Machine,
    data: OnDemand<Images>,
    teachers: KnownFiles,
    stores: Option<Stores>,
}

impl ReviewKd {
    /// The name of its experiments, runs and results folders.
    pub const NAME: &str = "reviewkd-cifar";

    /// The paper on this data and machine, with the stores of teachers' outputs, if they are kept.
    /// Nothing is loaded until [`ReviewKd::data`] is called.
    pub fn new(request: Request, machine: Machine, stores: Option<Stores>) -> Self {
        Self {
            data: OnDemand::new(move || request.load()),
            machine,
            teachers: KnownFiles::default(),
            stores,
        }
    }

    /// The data, found, downloaded or generated at the first call.
    ///
    /// # Errors
    /// As [`Request::load`].
    pub fn data(&self) -> kd_core::Result<&(Images, Provenance)> {
        self.data.get()
    }

    /// Says where the files of imported teachers lie.
    pub fn set_teachers(&self, files: Files) {
        *self.teachers.lock() = files;
    }

    /// Where its networks compute.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl Paper for ReviewKd {
    type Spec = CellSpec;

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn identity(&self) -> Result<DataIdentity> {
        Ok(kd_paper::identity(&self.data()?.1))
    }

    fn read(&self, cell: &Cell) -> Result<CellSpec> {
        CellSpec::read(cell)
    }

    fn check(&self, spec: &CellSpec, needs: &Needs<CellSpec>) -> Result<()> {
        let (images, provenance) = self.data()?;
        spec.check_needs(needs, &TrainLabels::of(images, provenance))
    }

    fn metrics(&self, spec: &CellSpec, _needs: &Needs<CellSpec>) -> Result<Option<Vec<String>>> {
        let names = match spec {
            CellSpec::Train(spec) => cells::train::metrics(spec),
            CellSpec::Imported(spec) => cells::imported::metrics(spec),
            CellSpec::Cost(_) => cells::cost::METRICS.to_vec(),
        };
        Ok(Some(names.into_iter().map(str::to_owned).collect()))
    }

    fn run(&self, spec: &CellSpec, job: &Job) -> Result<CellResult> {
        let work = Work {
            context: TrainingContext::of(job, &self.machine),
            data: &self.data()?.0,
            data_name: &job.cell.data,
            stores: self.stores.as_ref(),
        };
        let result = match spec {
            CellSpec::Imported(spec) => {
                cells::imported::run(spec, self.teachers.get(&spec.sha256).as_deref(), &work)?
            }
            CellSpec::Cost(spec) => cells::cost::run(spec, &work)?,
            CellSpec::Train(spec) => {
                let teacher = job.needed.all("teacher").first();
                let teacher =
                    teacher.map(|cell| TeacherCell { dir: &cell.dir, name: cell.cell.id.as_str() });
                cells::train::run(spec, &work, teacher)?
            }
        };
        Ok(CellResult { device: self.machine.name(), ..result })
    }

    fn cost(&self, spec: &CellSpec) -> Option<f64> {
        match spec {
            CellSpec::Train(spec) => Some(spec.seconds_on_two_cores()),
            CellSpec::Imported(_) | CellSpec::Cost(_) => None,
        }
    }

    fn holds_out(&self, kind: &str) -> bool {
        ["train", "imported"].contains(&kind)
    }

    fn epochs(&self, spec: &CellSpec) -> Option<usize> {
        match spec {
            CellSpec::Train(spec) => Some(spec.epochs()),
            CellSpec::Imported(_) | CellSpec::Cost(_) => None,
        }
    }

    fn shortened(&self, spec: &toml::Table, share: f64) -> Result<toml::Table> {
        Ok(kd_paper::shortened(spec, share)?)
    }

    fn decorate(&self, table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>> {
        figures::draw(table, out_dir)
    }
}
