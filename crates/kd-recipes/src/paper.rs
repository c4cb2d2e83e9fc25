//! The recipes as the runner sees them: how their cells are checked and computed, and which figures
//! their tables have.

use std::path::{Path, PathBuf};

use kd_core::data::{LabelledImages, OnDemand, Provenance, cifar, mnist};
use kd_experiment::cli::Options;
use kd_experiment::{Cell, CellResult, DataIdentity, Job, Needs, Paper, Result, Table};
use kd_paper::{Machine, TrainingContext};

use crate::cells::train::{self, Needed};
use crate::figures;
use crate::set::Set;
use crate::spec::CellSpec;
use crate::view::Measured;

/// The images of a data set as they are.
pub struct Images {
    /// To train on.
    pub train: LabelledImages,
    /// To test on.
    pub test: LabelledImages,
}

/// The recipes on one data set.
pub struct KdRecipes {
    machine: Machine,
    data: OnDemand<Images>,
    measured: Measured,
}

impl KdRecipes {
    /// The name of their experiments, runs and results folders.
    pub const NAME: &str = "kd-recipes";

    /// The recipes on this data set and machine. Nothing is loaded until [`KdRecipes::images`] is
    /// called.
    ///
    /// # Errors
    /// Bad input when the options' data is no name.
    pub fn new(set: Set, options: &Options, machine: Machine) -> kd_core::Result<Self> {
        let dir = options.data_dir.clone();
        let data = match set {
            Set::Mnist => {
                let request = mnist::MnistRequest::new(options.data.parse()?, dir);
                OnDemand::new(move || {
                    let (mnist::Mnist { train, test }, from) = mnist::load(&request)?;
                    Ok((Images { train, test }, from))
                })
            }
            Set::Cifar100 => {
                let request = cifar::CifarRequest::new(options.data.parse()?, dir);
                OnDemand::new(move || {
                    let (cifar::Cifar { train, test, .. }, from) = cifar::load(&request)?;
                    Ok((Images { train, test }, from))
                })
            }
        };
        Ok(Self { machine, data, measured: Measured::default() })
    }

    /// The images, found, downloaded or generated at the first call.
    ///
    /// # Errors
    /// As [`mnist::load`] and [`cifar::load`].
    pub fn images(&self) -> kd_core::Result<&Images> {
        Ok(&self.loaded()?.0)
    }

    /// Where its networks compute.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    fn loaded(&self) -> kd_core::Result<&(Images, Provenance)> {
        self.data.get()
    }
}

impl Paper for KdRecipes {
    type Spec = CellSpec;

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn identity(&self) -> Result<DataIdentity> {
        Ok(kd_paper::identity(&self.loaded()?.1))
    }

    fn read(&self, cell: &Cell) -> Result<CellSpec> {
        CellSpec::read(cell)
    }

    fn check(&self, spec: &CellSpec, needs: &Needs<CellSpec>) -> Result<()> {
        let images = &self.loaded()?.0;
        spec.check_needs(needs)?;
        Ok(spec.check_data(&images.train)?)
    }

    fn metrics(&self, spec: &CellSpec, needs: &Needs<CellSpec>) -> Result<Option<Vec<String>>> {
        let plain = !needs.all("plain").is_empty();
        Ok(Some(train::metrics(spec, plain).map(str::to_owned).collect()))
    }

    fn run(&self, spec: &CellSpec, job: &Job) -> Result<CellResult> {
        let teacher = match job.needed.all("teacher") {
            [] => None,
            _ => {
                let finished = job.needed.one("teacher")?;
                Some((CellSpec::read(&finished.cell)?, finished))
            }
        };
        let plain = job.needed.all("plain").first();
        let needed = Needed {
            teacher: teacher.as_ref().map(|(spec, finished)| (spec, finished.dir.as_path())),
            plain: plain.map(|finished| &finished.result),
        };
        let context = TrainingContext::of(job, &self.machine);
        let mut result = train::run(spec, self.images()?, &self.measured, &context, &needed)?;
        result.device = self.machine.name();
        Ok(result)
    }

    fn cost(&self, spec: &CellSpec) -> Option<f64> {
        Some(spec.seconds_on_two_cores())
    }

    fn holds_out(&self, kind: &str) -> bool {
        kind == "train"
    }

    fn epochs(&self, spec: &CellSpec) -> Option<usize> {
        Some(spec.train.epochs + spec.projection_epochs())
    }

    fn shortened(&self, spec: &toml::Table, share: f64) -> Result<toml::Table> {
        Ok(kd_paper::shortened(spec, share)?)
    }

    fn decorate(&self, table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>> {
        figures::draw(table, out_dir)
    }
}
