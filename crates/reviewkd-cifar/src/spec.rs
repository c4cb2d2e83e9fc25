//! What the rows of this paper's experiment files say: one strict type per kind of cell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;
use kd_core::data::{CropFlip, Normalisation, Validation};
use kd_core::frozen::{Frozen, Teacher};
use kd_core::method::{Context, MethodSpec, Recipe};
use kd_core::model::{Model, NetworkSpec};
use kd_core::params::Params;
use kd_core::train::{OptimizerSpec, Phase, TrainSpec, Trains};
use kd_core::{Error, Result, Seed};
use kd_experiment::{Cell, Needs, Role};
use serde::{Deserialize, Serialize};

use crate::data::TrainLabels;
use crate::precision::Precision;

/// A kind of cell with its specification.
pub enum CellSpec {
    /// `train`: a network, with or without a teacher.
    Train(Box<TrainCell>),
    /// `imported`: a network that somebody else trained.
    Imported(ImportedCell),
    /// `cost`: what a step of a method takes.
    Cost(Box<CostCell>),
}

/// The kinds of cells that leave a network behind.
const NETWORKS: &[&str] = &["train", "imported"];

impl CellSpec {
    /// Reads and checks a cell's specification.
    ///
    /// # Errors
    /// Bad input that names the cell and what does not fit.
    pub fn read(cell: &Cell) -> kd_experiment::Result<Self> {
        match &*cell.kind {
            "train" => {
                let spec: TrainCell = cell.spec_as()?;
                spec.check()?;
                Ok(Self::Train(Box::new(spec)))
            }
            "imported" => {
                let spec: ImportedCell = cell.spec_as()?;
                NetworkSpec::from_name(&spec.network, 2)?;
                spec.validation.as_ref().map_or(Ok(()), Validation::check)?;
                Ok(Self::Imported(spec))
            }
            "cost" => {
                let spec: CostCell = cell.spec_as()?;
                spec.check()?;
                Ok(Self::Cost(Box::new(spec)))
            }
            other => Err(Error::bad_input(format!(
                "unknown kind '{other}': expected train, imported or cost"
            ))
            .into()),
        }
    }

    /// Checks that the cell has the teacher that its method needs, that the two see images alike,
    /// and that the method fits the pair and the training images.
    ///
    /// # Errors
    /// Bad input that names the role and what was found.
    pub fn check_needs(
        &self,
        needs: &Needs<Self>,
        train: &TrainLabels,
    ) -> kd_experiment::Result<()> {
        let Self::Train(cell) = self else { return needs.expect(&[]) };
        if !cell.needs_teacher() {
            return needs.expect(&[]);
        }
        needs.expect(&[Role::one("teacher", NETWORKS)])?;
        let &[teacher] = needs.all("teacher") else { return Ok(()) };
        if let Some(normalisation) = teacher.spec.normalisation() {
            cell.check_normalisation(normalisation)?;
        }
        kd_paper::validation::check_teacher(cell.validation, teacher.spec.validation())?;
        Ok(cell.check_pair(teacher.spec.network(), train)?)
    }

    /// The name of its network.
    pub fn network(&self) -> &str {
        match self {
            Self::Train(cell) => &cell.network,
            Self::Imported(cell) => &cell.network,
            Self::Cost(cell) => &cell.student,
        }
    }

    /// The training images that it keeps apart.
    fn validation(&self) -> Option<Validation> {
        match self {
            Self::Train(cell) => cell.validation,
            Self::Imported(cell) => cell.validation,
            Self::Cost(_) => None,
        }
    }

    /// How its network sees images; those of `cost` are random numbers.
    fn normalisation(&self) -> Option<Normalisation> {
        match self {
            Self::Train(cell) => Some(cell.examples.normalisation),
            Self::Imported(cell) => Some(cell.normalisation),
            Self::Cost(_) => None,
        }
    }
}

/// Which training images a cell trains on, and how they are shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExamplesPart {
    /// Only the first so many; 0 for all.
    pub limit: usize,
    /// What is done to an image each time it is shown.
    pub augmentation: CropFlip,
    /// How bytes become numbers.
    pub normalisation: Normalisation,
    /// How many augmentations each image has: epoch `e` shows it as epoch `e mod views` did. 0,
    /// where the file does not say, for a new one in every epoch.
    #[serde(default)]
    pub views: usize,
}

impl ExamplesPart {
    /// How many of so many images it takes.
    pub fn count(&self, images: usize) -> usize {
        if self.limit == 0 { images } else { self.limit.min(images) }
    }
}

/// What a teacher's batch-norms normalise with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherStatistics {
    /// Their running statistics: evaluation mode.
    #[default]
    Running,
    /// The statistics of each batch, as the official program of this paper has it.
    Batch,
}

/// A network that was trained elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImportedCell {
    /// The network's name, as `--arch` takes it.
    pub network: String,
    /// The SHA-256 of its file, in hexadecimal digits.
    pub sha256: String,
    /// The normalisation that it was trained with.
    pub normalisation: Normalisation,
    /// Training images that it is measured on in place of the test images. Whether it was trained
    /// on them nobody here knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

/// A step of a method, to be timed beside one of its student alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CostCell {
    /// The student's name.
    pub student: String,
    /// The teacher's name; its weights are initial ones.
    pub teacher: String,
    /// What the teacher's batch-norms normalise with.
    pub teacher_statistics: TeacherStatistics,
    /// The precision of convolutions.
    pub conv: Precision,
    /// Images of a step.
    pub batch_size: usize,
    /// Images of the data set, over which some methods have a memory.
    pub images: usize,
    /// Steps that are not timed.
    pub warm_up_steps: usize,
    /// Steps that are timed.
    pub steps: usize,
    /// The method.
    pub method: MethodSpec,
    /// What moves the weights, at this rate.
    pub optimizer: OptimizerSpec,
    /// So small that steps on random images move no weight far.
    pub learning_rate: f64,
}

impl CostCell {
    fn check(&self) -> Result<()> {
        NetworkSpec::from_name(&self.teacher, 2)?;
        NetworkSpec::from_name(&self.student, 2)?;
        Error::unless_within("batch-size", self.batch_size, 2..=10_000)?;
        Error::unless_within("images", self.images, self.batch_size..=10_000_000)?;
        Error::unless_within("warm-up-steps", self.warm_up_steps, 0..=1_000_000)?;
        Error::unless_within("steps", self.steps, 1..=1_000_000)?;
        self.method.check()?;
        self.optimizer.check()
    }
}

/// A network to train.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainCell {
    /// The network's name, as `--arch` takes it.
    pub network: String,
    /// The precision of its convolutions.
    pub conv: Precision,
    /// What it trains on.
    pub examples: ExamplesPart,
    /// What the teacher's batch-norms normalise with; their running statistics where the file does
    /// not say.
    #[serde(default)]
    pub teacher_statistics: TeacherStatistics,
    /// Whether the teacher may have been trained with another normalisation; not, where the file
    /// does not say.
    #[serde(default)]
    pub accept_other_normalisation: bool,
    /// Training images that are kept apart, of all of the set, and that the network is measured on
    /// in place of the test images.
    #[serde(default)]
    pub validation: Option<Validation>,
    /// Phases before the last, in their order.
    #[serde(default)]
    pub before: Vec<Phase>,
    /// How the loss of the last phase is made.
    pub method: MethodSpec,
    /// Its recipe.
    pub train: TrainSpec,
}

impl TrainCell {
    /// The network for so many classes.
    ///
    /// # Errors
    /// Bad input when there is no network of this name.
    pub fn network(&self, classes: usize) -> Result<NetworkSpec> {
        NetworkSpec::from_name(&self.network, classes)
    }

    /// The network that is trained and deployed, for so many classes: that of the name, as the
    /// methods of the phases change it.
    ///
    /// # Errors
    /// As [`TrainCell::network`], and bad input when a method does not fit the pair.
    pub fn student(&self, classes: usize, teacher: Option<&dyn Model>) -> Result<NetworkSpec> {
        let network = self.network(classes)?;
        self.phases()
            .iter()
            .try_fold(network, |network, phase| phase.method.student(network, teacher))
    }

    /// All phases, in their order.
    pub fn phases(&self) -> Vec<Phase> {
        let last =
            Phase { method: self.method.clone(), trains: Trains::All, train: self.train.clone() };
        self.before.iter().cloned().chain([last]).collect()
    }

    /// Epochs of all phases.
    pub fn epochs(&self) -> usize {
        self.before.iter().map(|phase| phase.train.epochs).sum::<usize>() + self.train.epochs
    }

    fn needs_teacher(&self) -> bool {
        self.phases().iter().any(|phase| phase.method.needs_teacher())
    }

    fn check(&self) -> Result<()> {
        self.network(2)?;
        Error::unless_within("examples.views", self.examples.views, 0..=1_000_000)?;
        self.validation.as_ref().map_or(Ok(()), Validation::check)?;
        self.phases().iter().try_for_each(Phase::check)
    }

    fn check_normalisation(&self, teacher: Normalisation) -> Result<()> {
        let mine = self.examples.normalisation;
        if mine == teacher || self.accept_other_normalisation {
            return Ok(());
        }
        let what = "or accept-other-normalisation = true";
        Err(Error::bad_input(format!(
            "examples.normalisation: expected the teacher's {}, {what}, got {}",
            teacher.name(),
            mine.name()
        )))
    }

    /// Builds the methods once for networks with initial weights: what does not fit the pair is
    /// found out before anything is trained.
    fn check_pair(&self, teacher: &str, train: &TrainLabels) -> Result<()> {
        let device = &Device::Cpu;
        let teacher = untrained(teacher, train.classes)?;
        let (params, vb) = Params::seeded(Seed(0), device);
        let spec = self.student(train.classes, Some(&**teacher.model()))?;
        let student = spec.build(vb.clone())?;
        let labels = &train.labels[..self.examples.count(train.labels.len())];
        for phase in self.phases() {
            phase.method.build(&Context::new(&*student, Some(&teacher), labels, &params, &vb))?;
        }
        Ok(())
    }

    /// A rough estimate for listings: three passes of the student's multiply-adds and one of the
    /// teacher's at 150 GFLOP/s, on the whole of CIFAR.
    pub fn seconds_on_two_cores(&self) -> f64 {
        let network =
            self.network(100).and_then(|spec| spec.build(Params::seeded(Seed(0), &Device::Cpu).1));
        let multiply_adds = network.map_or(0, |n| n.multiply_adds());
        let images = if self.examples.limit == 0 { 50_000 } else { self.examples.limit };
        let share = 1. - self.validation.map_or(0., |part| part.share);
        6. * multiply_adds as f64 * images as f64 * share * self.epochs() as f64 / 150e9
    }
}

/// A teacher of this name for so many classes, with initial weights. Each is made once: a listing
/// checks hundreds of cells with a few teachers.
fn untrained(network: &str, classes: usize) -> Result<Arc<Teacher>> {
    static KNOWN: Mutex<BTreeMap<(String, usize), Arc<Teacher>>> = Mutex::new(BTreeMap::new());
    // Entries are inserted whole.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(teacher) = known.get(&(network.to_owned(), classes)) {
        return Ok(teacher.clone());
    }
    let (device, spec) = (&Device::Cpu, NetworkSpec::from_name(network, classes)?);
    let (weights, vb) = Params::seeded(Seed(0), device);
    spec.build(vb)?;
    let teacher = Arc::new(Frozen::build(weights.snapshot()?, device, |vb| spec.build(vb))?);
    known.insert((network.to_owned(), classes), teacher.clone());
    Ok(teacher)
}
