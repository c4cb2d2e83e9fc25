//! What the rows of the recipes' experiment files say.

use kd_core::data::{LabelledImages, Validation};
use kd_core::method::{MethodSpec, Recipe, check_penalty, check_temperature, soft_targets};
use kd_core::migration::Migration;
use kd_core::model::mlp::{MlpSpec, WeightInit};
use kd_core::model::{FactMlpSpec, NetworkSpec};
use kd_core::train::TrainSpec;
use kd_core::weight_map::Start;
use kd_core::{Error, Result};
use kd_experiment::{Cell, Needs, Parsed, Role};
use serde::Deserialize;

/// The one kind of cell: a network that trains.
pub type CellSpec = TrainCell;

/// The kind's name.
const TRAIN: &str = "train";

/// A multi-layer perceptron; its inputs and classes are the data's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkPart {
    hidden: Vec<usize>,
    dropout_input: f64,
    dropout_hidden: f64,
    init: WeightInit,
}

impl NetworkPart {
    /// With inputs and classes filled in.
    pub fn full(&self, inputs: usize, classes: usize) -> MlpSpec {
        let Self { hidden, dropout_input, dropout_hidden, init } = self.clone();
        MlpSpec { inputs, hidden, classes, dropout_input, dropout_hidden, init }
    }
}

/// Which training images a cell trains on, and at which resolution.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExamplesPart {
    /// So many images, stratified by class, are kept apart and never trained on.
    pub held_out: usize,
    /// Of the rest, so many, stratified by class; 0, or more than there are, for all.
    pub samples: usize,
    /// An epoch shows at least so many images: the chosen ones are gone through again until it
    /// does; 0 for each once. It keeps the number of steps alike where the number of images is
    /// not.
    pub epoch_images: usize,
    /// Squares of so many pixels by so many are seen as one, their mean; 1 for the image itself.
    pub pool: usize,
}

/// Where the facts beside an image come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactSource {
    /// There are none.
    #[default]
    None,
    /// Shape and strokes, measured at full resolution: [`crate::measurements`].
    Measurements,
    /// The image itself at full resolution.
    Image,
    /// The group of the class.
    Superclass,
}

/// The facts that a network has, in training and at the test.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FactsPart {
    /// Which.
    pub source: FactSource,
    /// Whether every image has those of another one: a control.
    pub shuffled: bool,
}

/// The parameters that the student begins with, from its teacher's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// [`Migration::Copy`].
    Copy,
    /// [`Migration::Truncate`].
    Truncate,
    /// [`Migration::Strongest`].
    Strongest,
    /// [`Migration::Average`].
    Average,
    /// A learnt projection: [`kd_core::migration::ProjectedMlp`].
    Projection,
}

impl Way {
    /// The way that takes no training; none for a projection.
    pub fn at_once(self) -> Option<Migration> {
        match self {
            Self::Copy => Some(Migration::Copy),
            Self::Truncate => Some(Migration::Truncate),
            Self::Strongest => Some(Migration::Strongest),
            Self::Average => Some(Migration::Average),
            Self::Projection => None,
        }
    }
}

/// A migration of the teacher's parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MigrationPart {
    /// How the student's parameters come from its teacher's.
    pub way: Way,
    /// Whether the student begins with them; otherwise it begins as any, and only the penalty
    /// pulls at it.
    pub begin: bool,
    /// Weight of the squared distance between the student's parameters and the migrated ones in
    /// the loss of the training that follows; 0 for none.
    pub penalty: f64,
    /// What a projection learns with; for [`Way::Projection`] alone.
    #[serde(default)]
    pub projection: Option<ProjectionPart>,
}

/// How a projection learns, with the cell's own method.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProjectionPart {
    /// How its maps begin.
    pub start: Start,
    /// The recipe.
    pub train: TrainSpec,
}

/// A network to train.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainCell {
    /// The network.
    pub network: NetworkPart,
    /// What it trains on.
    pub examples: ExamplesPart,
    /// The facts it has.
    #[serde(default)]
    pub facts: FactsPart,
    /// How the loss is made.
    pub method: MethodSpec,
    /// The imitation weight λ in [0, 1] of generalised distillation: the two weights of soft
    /// targets, the method, are multiplied by λ and 1 − λ.
    #[serde(default)]
    pub imitation: Option<f64>,
    /// The teacher's logits are divided by this before the method sees them. With soft targets at
    /// T = 1 it softens the teacher alone, as generalised distillation does.
    #[serde(default)]
    pub soften_teacher: Option<f64>,
    /// The recipe.
    pub train: TrainSpec,
    /// What it begins with, where that is its teacher's.
    #[serde(default)]
    pub migration: Option<MigrationPart>,
    /// Whether it is measured after every epoch.
    #[serde(default)]
    pub curve: bool,
    /// Training images that are kept apart before `examples` chooses, and that the network is
    /// measured on in place of the test images.
    #[serde(default)]
    pub validation: Option<Validation>,
}

impl TrainCell {
    /// Reads and checks a cell's specification.
    ///
    /// # Errors
    /// Bad input that names what is wrong.
    pub fn read(cell: &Cell) -> kd_experiment::Result<Self> {
        if cell.kind != TRAIN {
            let kind = &cell.kind;
            return Err(Error::bad_input(format!("unknown kind '{kind}': expected {TRAIN}")).into());
        }
        let spec: Self = cell.spec_as()?;
        spec.check()?;
        Ok(spec)
    }

    /// The method, with the imitation weight in it.
    pub fn method(&self) -> MethodSpec {
        match (&self.method, self.imitation) {
            (MethodSpec::SoftTargets(spec), Some(weight)) => {
                soft_targets::Spec { soft_weight: weight, hard_weight: 1. - weight, ..spec.clone() }
                    .into()
            }
            (method, _) => method.clone(),
        }
    }

    /// The network for these images at the cell's resolution, with so many numbers in a fact
    /// vector.
    pub fn network(&self, seen: &LabelledImages, facts: Option<usize>) -> NetworkSpec {
        let network = self.network.full(seen.pixels(), seen.classes);
        match facts {
            Some(facts) => NetworkSpec::FactMlp(FactMlpSpec { facts, network }),
            None => NetworkSpec::Mlp(network),
        }
    }

    /// Whether the cell has a teacher, for what it says or for its weights.
    fn has_teacher(&self) -> bool {
        self.method().needs_teacher() || self.migration.is_some()
    }

    fn check(&self) -> Result<()> {
        // The data's inputs and classes come with the data.
        self.network.full(1, 2).check()?;
        Error::unless_within("examples.epoch-images", self.examples.epoch_images, 0..=100_000_000)?;
        Error::unless_within("examples.pool", self.examples.pool, 1..=1000)?;
        self.train.check()?;
        if let Some(weight) = self.imitation {
            let soft = matches!(self.method, MethodSpec::SoftTargets(_));
            if !soft || !(0. ..=1.).contains(&weight) {
                let what = "imitation: expected a weight in [0, 1] and method soft-targets";
                return Err(Error::bad_input(format!("{what}, got {weight}")));
            }
        }
        if let Some(temperature) = self.soften_teacher {
            check_temperature(temperature)?;
            if !self.method().needs_teacher() {
                let what = "soften-teacher: expected a method with a teacher, got hard-targets";
                return Err(Error::bad_input(what));
            }
        }
        match self.method() {
            MethodSpec::HardTargets(_)
            | MethodSpec::SoftTargets(_)
            | MethodSpec::LogitRegression(_) => self.method().check()?,
            _ => {
                return Err(Error::bad_input(
                    "method: expected hard-targets, soft-targets or logit-regression, got one that needs the teacher itself",
                ));
            }
        }
        if let Some(validation) = &self.validation {
            validation.check()?;
            if self.curve {
                return Err(Error::bad_input(
                    "curve: expected none with validation, since it is of the test images too",
                ));
            }
        }
        if self.curve && self.examples.held_out == 0 {
            return Err(Error::bad_input(
                "curve: expected examples.held-out above 0 to measure on, got 0",
            ));
        }
        if let Some(migration) = &self.migration {
            check_penalty(migration.penalty)?;
            match (migration.way, &migration.projection) {
                (Way::Projection, Some(projection)) => projection.train.check()?,
                (Way::Projection, None) => {
                    return Err(Error::bad_input("migration.projection: expected one, got none"));
                }
                (_, Some(_)) => {
                    return Err(Error::bad_input(
                        "migration.projection: expected none, since the way is another, got one",
                    ));
                }
                (_, None) => {}
            }
            if self.facts.source != FactSource::None {
                return Err(Error::bad_input("migration: expected a network without facts"));
            }
            if !migration.begin && migration.penalty == 0. {
                return Err(Error::bad_input(
                    "migration: expected begin = true or a penalty above 0, got neither",
                ));
            }
        }
        Ok(())
    }

    /// Checks the cells that this one needs: a teacher where there is something to take from it,
    /// whose weights fit where they migrate, and `plain`, the network whose accuracy is to be
    /// reached, where there is a curve to reach it.
    ///
    /// # Errors
    /// Bad input that names the role, what was expected and what was found.
    pub fn check_needs(&self, needs: &Needs<Self>) -> kd_experiment::Result<()> {
        const NETWORKS: &[&str] = &[TRAIN];
        let teacher = self.has_teacher().then_some(Role::one("teacher", NETWORKS));
        let plain = self.curve.then_some(Role::optional("plain", NETWORKS));
        needs.expect(&teacher.into_iter().chain(plain).collect::<Vec<_>>())?;
        for Parsed { spec, .. } in needs.all("teacher") {
            kd_paper::validation::check_teacher(self.validation, spec.validation)?;
        }
        for Parsed { spec, .. } in needs.all("plain") {
            if spec.examples.held_out != self.examples.held_out {
                let (expected, got) = (self.examples.held_out, spec.examples.held_out);
                return Err(Error::bad_input(format!(
                    "needs.plain: expected examples.held-out = {expected}, got {got}"
                ))
                .into());
            }
        }
        if let (Some(migration), &[Parsed { spec: teacher, .. }]) =
            (&self.migration, needs.all("teacher"))
        {
            if teacher.facts.source != FactSource::None
                || teacher.examples.pool != self.examples.pool
            {
                return Err(Error::bad_input(
                    "migration: expected a teacher without facts that sees images as the student does",
                )
                .into());
            }
            // Any inputs and classes: both see the same.
            let (wide, narrow) = (teacher.network.full(1, 2), self.network.full(1, 2));
            migration.way.at_once().unwrap_or(Migration::Truncate).check(&wide, &narrow)?;
        }
        Ok(())
    }

    /// Checks what can only be checked against the images.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check_data(&self, images: &LabelledImages) -> Result<()> {
        let pool = self.examples.pool;
        if !images.rows.is_multiple_of(pool) || !images.cols.is_multiple_of(pool) {
            return Err(Error::bad_input(format!(
                "examples.pool: expected a divisor of {} and {}, got {pool}",
                images.rows, images.cols
            )));
        }
        if self.examples.held_out >= images.len() {
            return Err(Error::bad_input(format!(
                "examples.held-out: expected less than the {} images, got {}",
                images.len(),
                self.examples.held_out
            )));
        }
        match self.facts.source {
            FactSource::Superclass if images.coarse.is_none() => Err(Error::bad_input(
                "facts: superclass: expected a data set whose classes have groups, got one without",
            )),
            FactSource::Measurements if images.channels != 1 => Err(Error::bad_input(format!(
                "facts: measurements: expected grey images, got {} channels",
                images.channels
            ))),
            _ => Ok(()),
        }
    }

    /// The epochs that a projection trains before the cell's own.
    pub fn projection_epochs(&self) -> usize {
        let projection = self.migration.as_ref().and_then(|part| part.projection.as_ref());
        projection.map_or(0, |part| part.train.epochs)
    }

    /// A rough estimate for listings: 6 operations per weight and example at 100 GFLOP/s, on
    /// images of MNIST, and a second for loading and evaluation.
    pub fn seconds_on_two_cores(&self) -> f64 {
        let inputs = 784 / self.examples.pool.pow(2).max(1);
        let weights = self.network.full(inputs.max(1), 10).multiply_adds() as f64;
        let all = 60_000. * (1. - self.validation.map_or(0., |part| part.share));
        let samples = if self.examples.samples == 0 { all as usize } else { self.examples.samples };
        let shown = samples.max(self.examples.epoch_images) as f64;
        let projected = self.projection_epochs();
        1. + 6. * weights * shown * (self.train.epochs + 2 * projected) as f64 / 100e9
    }
}
