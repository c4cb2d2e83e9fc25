//! The paper as the runner sees it: how its cells are checked and computed, and which figures its
//! tables have.

use std::path::{Path, PathBuf};

use kd_core::Seed;
use kd_core::data::mnist::{self, Mnist};
use kd_core::data::{OnDemand, Provenance};
use kd_experiment::{Cell, CellResult, DataIdentity, Job, Needs, Paper, Result, Table};
use kd_paper::{Machine, TrainingContext};

use crate::spec::CellSpec;
use crate::{cells, figures};

/// Hinton, Vinyals and Dean 2015, section 3.
pub struct HintonMnist {
    machine: Machine,
    data: OnDemand<Mnist>,
}

impl HintonMnist {
    /// The name of its experiments, runs and results folders.
    pub const NAME: &str = "hinton-mnist";

    /// The paper on this data and machine. Nothing is loaded until [`HintonMnist::data`] is called.
    pub fn new(request: mnist::MnistRequest, machine: Machine) -> Self {
        Self { data: OnDemand::new(move || mnist::load(&request)), machine }
    }

    /// The data, found, downloaded or generated at the first call.
    ///
    /// # Errors
    /// As [`mnist::load`].
    pub fn data(&self) -> kd_core::Result<&(Mnist, Provenance)> {
        self.data.get()
    }

    /// Where its networks compute.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl Paper for HintonMnist {
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
        spec.check_needs(needs)
    }

    fn metrics(&self, spec: &CellSpec, _needs: &Needs<CellSpec>) -> Result<Option<Vec<String>>> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Ok(Some(match spec {
            CellSpec::Train(spec) => cells::train::metrics(spec).map(str::to_owned).collect(),
            CellSpec::Bias(_) => cells::bias::metrics().collect(),
            CellSpec::Ensemble(_) => owned(&cells::ensemble::METRICS),
            CellSpec::GradientLimit(_) => owned(&cells::gradient_limit::METRICS),
            CellSpec::SoftTargets(_) => owned(&cells::soft_targets::METRICS),
        }))
    }

    fn run(&self, spec: &CellSpec, job: &Job) -> Result<CellResult> {
        let data = &self.data()?.0;
        let needed = job.needed;
        let dirs =
            |role: &str| needed.all(role).iter().map(|f| f.dir.as_path()).collect::<Vec<_>>();
        let mut result = match spec {
            CellSpec::Train(spec) => cells::train::run(
                spec,
                data,
                &TrainingContext::of(job, &self.machine),
                &dirs("teacher"),
            )?,
            CellSpec::Bias(spec) => {
                cells::bias::run(spec, Seed(job.cell.seed), data, &needed.one("student")?.dir)?
            }
            CellSpec::Ensemble(spec) => cells::ensemble::run(spec, data, &dirs("members"))?,
            CellSpec::GradientLimit(spec) => cells::gradient_limit::run(
                spec,
                &needed.one("student")?.dir,
                &needed.one("teacher")?.dir,
            )?,
            CellSpec::SoftTargets(spec) => {
                cells::soft_targets::run(spec, data, &needed.one("teacher")?.dir)?
            }
        };
        result.device = self.machine.name();
        Ok(result)
    }

    fn cost(&self, spec: &CellSpec) -> Option<f64> {
        match spec {
            CellSpec::Train(spec) => Some(spec.seconds_on_two_cores()),
            _ => Some(1.),
        }
    }

    fn holds_out(&self, kind: &str) -> bool {
        kind == "train"
    }

    fn epochs(&self, spec: &CellSpec) -> Option<usize> {
        match spec {
            CellSpec::Train(spec) => Some(spec.train.epochs),
            _ => None,
        }
    }

    fn shortened(&self, spec: &toml::Table, share: f64) -> Result<toml::Table> {
        Ok(kd_paper::shortened(spec, share)?)
    }

    fn decorate(&self, table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>> {
        figures::draw(table, out_dir)
    }
}
