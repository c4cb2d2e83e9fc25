//! The paper as the runner sees it: how its cells are checked and computed.

use std::path::{Path, PathBuf};

use kd_experiment::{Cell, CellResult, DataIdentity, Job, Needs, Paper, Result, Table};
use kd_paper::{Machine, TrainingContext};
use kd_translation::bitext;

use crate::cells;
use crate::cells::work::{self, Work};
use crate::figures;
use crate::spec::CellSpec;
use crate::text::Corpus;

/// Lin, Li, Wang, Li, Du, Xiao and Zhu 2021.
pub struct WeightDistillation {
    machine: Machine,
    corpus: Corpus,
}

impl WeightDistillation {
    /// The name of its experiments, runs and results folders.
    pub const NAME: &str = "weight-distill";

    /// The paper on this text and machine. Nothing is loaded until it is needed.
    pub fn new(request: bitext::BitextRequest, machine: Machine) -> Self {
        Self { corpus: Corpus::new(request), machine }
    }

    /// Its text.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// Where its networks compute.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl Paper for WeightDistillation {
    type Spec = CellSpec;

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn identity(&self) -> Result<DataIdentity> {
        Ok(kd_paper::identity(&self.corpus.splits()?.1))
    }

    fn read(&self, cell: &Cell) -> Result<CellSpec> {
        CellSpec::read(cell)
    }

    fn check(&self, spec: &CellSpec, needs: &Needs<CellSpec>) -> Result<()> {
        spec.check_needs(needs)
    }

    fn metrics(&self, spec: &CellSpec, needs: &Needs<CellSpec>) -> Result<Option<Vec<String>>> {
        let names = match (spec, needs.all("of")) {
            (CellSpec::Quoted(_), &[of]) => return self.metrics(&of.spec, &Needs::default()),
            (CellSpec::Train(_), _) => work::METRICS.to_vec(),
            (CellSpec::Generate(_), _) => {
                [&work::METRICS[..], &[cells::generate::GENERATOR_PARAMETERS]].concat()
            }
            (CellSpec::Pseudo(_), _) => cells::pseudo::METRICS.to_vec(),
            (CellSpec::Speed(_), _) => cells::speed::METRICS.to_vec(),
            (CellSpec::Difference(_), _) => vec![cells::difference::DIFFERENCE],
            (CellSpec::Quoted(_), _) => return Ok(None),
        };
        Ok(Some(names.into_iter().map(str::to_owned).collect()))
    }

    fn run(&self, spec: &CellSpec, job: &Job) -> Result<CellResult> {
        let work = Work {
            corpus: &self.corpus,
            context: TrainingContext::of(job, &self.machine),
            needed: job.needed,
        };
        let result = match spec {
            CellSpec::Train(spec) => cells::train::run(spec, &work),
            CellSpec::Pseudo(spec) => cells::pseudo::run(spec, &work),
            CellSpec::Generate(spec) => cells::generate::run(spec, &work),
            CellSpec::Speed(spec) => cells::speed::run(spec, &work),
            CellSpec::Difference(_) => cells::difference::run(job.needed),
            CellSpec::Quoted(_) => cells::quoted::run(job.needed),
        };
        Ok(CellResult { device: self.machine.name(), ..result? })
    }

    fn cost(&self, spec: &CellSpec) -> Option<f64> {
        spec.seconds_on_two_cores()
    }

    fn decorate(&self, table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>> {
        figures::draw(table, out_dir)
    }
}
