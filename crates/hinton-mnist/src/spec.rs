//! What the rows of this paper's experiment files say: one strict type per kind of cell.

use kd_core::data::Validation;
use kd_core::inherit;
use kd_core::method::{MethodSpec, Recipe, check_temperature};
use kd_core::model::mlp::{MlpSpec, WeightInit};
use kd_core::train::TrainSpec;
use kd_core::{Error, Result};
use kd_experiment::{Cell, Needs, Parsed, Role};
use serde::Deserialize;

use crate::ensemble::Mean;

/// Pixels of an image, and classes: MNIST's.
pub const PIXELS: usize = 784;
/// Classes of MNIST.
pub const CLASSES: usize = 10;

/// A kind of cell with its specification.
pub enum CellSpec {
    /// `train`: a network, with or without a teacher.
    Train(Box<TrainCell>),
    /// `bias`: the biases of some classes of a finished network shifted together.
    Bias(BiasCell),
    /// `ensemble`: finished networks voting.
    Ensemble(EnsembleCell),
    /// `gradient-limit`: the gradient of the softened loss beside that of logit regression.
    GradientLimit(GradientLimitCell),
    /// `soft-targets`: what a teacher's probabilities carry beside the label.
    SoftTargets(SoftTargetsCell),
}

/// A multi-layer perceptron on images of MNIST.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkPart {
    hidden: Vec<usize>,
    dropout_input: f64,
    dropout_hidden: f64,
    init: WeightInit,
}

impl NetworkPart {
    /// With the data's inputs and classes filled in.
    pub fn full(&self) -> MlpSpec {
        let Self { hidden, dropout_input, dropout_hidden, init } = self.clone();
        MlpSpec { inputs: PIXELS, hidden, classes: CLASSES, dropout_input, dropout_hidden, init }
    }
}

/// Which training images a cell trains on. Applied in this order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExamplesPart {
    /// Only the first so many; 0 for all.
    pub limit: usize,
    /// This share, stratified by class, is kept apart and never trained on.
    pub held_out: f64,
    /// Of the rest, this share, stratified by class.
    pub fraction: f64,
    /// Of those, only these classes.
    pub classes: Vec<u8>,
    /// And not this one, if it is given.
    pub omit: Option<u8>,
    /// An epoch shows at least so many images: the chosen ones are gone through again until it
    /// does; 0 for each once. It keeps the number of steps alike where the number of images is
    /// not.
    pub epoch_images: usize,
    /// Each image is shifted by up to so many pixels in each direction, anew every time it is
    /// shown.
    pub jitter: u8,
}

impl ExamplesPart {
    fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::bad_input(format!("examples: {what}")));
        if !(0. ..1.).contains(&self.held_out) {
            return fault(format!("expected held-out in [0, 1), got {}", self.held_out));
        }
        if !(self.fraction > 0. && self.fraction <= 1.) {
            return fault(format!("expected fraction in (0, 1], got {}", self.fraction));
        }
        if self.jitter > 27 {
            return fault(format!(
                "expected a jitter of less than an image's 28 pixels, got {}",
                self.jitter
            ));
        }
        Error::unless_within("examples.epoch-images", self.epoch_images, 0..=100_000_000)?;
        check_classes("classes", &self.classes)?;
        check_classes("omit", &[self.omit.unwrap_or(0)])
    }

    /// The classes that are left out.
    pub fn omitted(&self) -> Vec<u8> {
        (0..CLASSES as u8).filter(|&c| !self.takes(c)).collect()
    }

    /// Whether images of this class are trained on.
    pub fn takes(&self, class: u8) -> bool {
        self.classes.contains(&class) && self.omit != Some(class)
    }
}

fn check_classes(name: &str, classes: &[u8]) -> Result<()> {
    let sorted = classes.windows(2).all(|w| w[0] < w[1]);
    if classes.is_empty() || !sorted || classes.iter().any(|&c| usize::from(c) >= CLASSES) {
        return Err(Error::bad_input(format!(
            "{name}: expected different digits in ascending order, got {classes:?}"
        )));
    }
    Ok(())
}

/// A network to train.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainCell {
    /// The network.
    pub network: NetworkPart,
    /// What it trains on.
    pub examples: ExamplesPart,
    /// How the loss is made.
    pub method: MethodSpec,
    /// The recipe.
    pub train: TrainSpec,
    /// How several teachers become one; needed where the cell has more than one.
    pub teachers: Option<Mean>,
    /// How many of its layers, from the first on, begin as the strongest units of its one
    /// teacher's: see [`inherit`].
    pub inherit_layers: Option<usize>,
    /// Training images that are kept apart before `examples` chooses, and that the network is
    /// measured on in place of the test images.
    pub validation: Option<Validation>,
}

impl TrainCell {
    /// How the logits of so many teachers become one set; none where there is one teacher or no
    /// teacher.
    ///
    /// # Errors
    /// Bad input when there are several and the cell names no mean.
    pub fn mean_of(&self, teachers: usize) -> Result<Option<Mean>> {
        match (teachers, self.teachers) {
            (0 | 1, _) => Ok(None),
            (_, Some(mean)) => Ok(Some(mean)),
            (n, None) => {
                let what = "expected teachers = \"arithmetic\" or \"geometric\", got none";
                Err(Error::bad_input(format!("{n} teachers: {what}")))
            }
        }
    }

    /// Whether the cell has a teacher, for its soft targets or its weights.
    fn has_teacher(&self) -> bool {
        self.method.needs_teacher() || self.inherit_layers.is_some()
    }

    /// Checks that the method takes nothing of a teacher but its logits, which are stored: the
    /// images of this paper's students are.
    fn check_method(&self) -> Result<()> {
        self.method.check()?;
        match self.method {
            MethodSpec::HardTargets(_)
            | MethodSpec::SoftTargets(_)
            | MethodSpec::LogitRegression(_) => Ok(()),
            _ => Err(Error::bad_input(
                "method: expected hard-targets, soft-targets or logit-regression, got one that needs the teacher itself",
            )),
        }
    }

    /// Checks that its first layers can begin as those of the network that one of these cells
    /// trains.
    fn check_inherited(&self, layers: usize, teachers: &[&Parsed<CellSpec>]) -> Result<()> {
        let &[teacher] = teachers else {
            let what = format!("inherit-layers: expected one teacher, got {}", teachers.len());
            return Err(Error::bad_input(what));
        };
        // The roles have been checked: a teacher is a network.
        let CellSpec::Train(teacher) = &teacher.spec else { return Ok(()) };
        inherit::check(&teacher.network.full(), &self.network.full(), layers)
    }

    /// A rough estimate for listings: 6 operations per weight and example at 150 GFLOP/s, on the
    /// whole of MNIST.
    pub fn seconds_on_two_cores(&self) -> f64 {
        let weights = self.network.full().multiply_adds();
        let apart = self.validation.map_or(0., |part| part.share);
        let all = if self.examples.limit == 0 { 60_000 } else { self.examples.limit };
        let all = all as f64 * (1. - apart);
        let share = self.examples.fraction
            * (1. - self.examples.held_out)
            * (CLASSES - self.examples.omitted().len()) as f64
            / CLASSES as f64;
        let images = (all * share).max(1.);
        let passes = (self.examples.epoch_images as f64 / images).ceil().max(1.);
        6. * weights as f64 * all * share * passes * self.train.epochs as f64 / 150e9
    }
}

/// A shift of biases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BiasCell {
    /// The classes whose biases move together: a list, or a digit alone.
    pub digits: Digits,
    /// The first shift that is tried.
    pub from: f64,
    /// The last shift that is tried.
    pub to: f64,
    /// The distance from one shift to the next, above 0.
    pub step: f64,
    /// The student's own `examples.limit`, to find its held-out images.
    pub limit: usize,
    /// The student's own `examples.held-out`, to find its held-out images.
    pub held_out: f64,
}

/// One class or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Digits {
    /// One.
    One(u8),
    /// Several, in ascending order.
    Several(Vec<u8>),
}

impl Digits {
    /// As a list.
    pub fn list(&self) -> Vec<u8> {
        match self {
            Self::One(digit) => vec![*digit],
            Self::Several(digits) => digits.clone(),
        }
    }
}

/// Networks voting.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnsembleCell {
    /// How their predictions are combined.
    pub mean: Mean,
}

/// Two gradients compared at one temperature.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GradientLimitCell {
    /// The temperature.
    pub temperature: f64,
    /// Over the first so many test images.
    pub images: usize,
}

/// A look at soft targets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SoftTargetsCell {
    /// The temperature.
    pub temperature: f64,
    /// Pairs (digit, class it resembles): for each, the test image of the digit, rightly
    /// classified, whose probability of the other class is largest.
    pub pairs: Vec<(u8, u8)>,
}

/// The kind of cell whose results are logits.
const NETWORKS: &[&str] = &["train"];

impl CellSpec {
    /// Reads and checks a cell's specification.
    ///
    /// # Errors
    /// Bad input that names the cell and what is wrong.
    pub fn read(cell: &Cell) -> kd_experiment::Result<Self> {
        let spec = match &*cell.kind {
            "train" => Self::Train(Box::new(cell.spec_as()?)),
            "bias" => Self::Bias(cell.spec_as()?),
            "ensemble" => Self::Ensemble(cell.spec_as()?),
            "gradient-limit" => Self::GradientLimit(cell.spec_as()?),
            "soft-targets" => Self::SoftTargets(cell.spec_as()?),
            other => {
                let known = "train, bias, ensemble, gradient-limit, soft-targets";
                return Err(Error::bad_input(format!(
                    "unknown kind '{other}': expected one of {known}"
                ))
                .into());
            }
        };
        spec.check()?;
        Ok(spec)
    }

    /// Checks the cells that this one needs: their kinds, their number, and for a bias that the
    /// student's held-out images are meant.
    ///
    /// # Errors
    /// Bad input that names the role, what was expected and what was found.
    pub fn check_needs(&self, needs: &Needs<Self>) -> kd_experiment::Result<()> {
        let (student, teacher) = (Role::one("student", NETWORKS), Role::one("teacher", NETWORKS));
        let roles = match self {
            Self::Train(cell) if cell.has_teacher() => vec![Role::several("teacher", NETWORKS)],
            Self::Train(_) => vec![],
            Self::Bias(_) => vec![student],
            Self::Ensemble(_) => vec![Role::several("members", NETWORKS)],
            Self::GradientLimit(_) => vec![student, teacher],
            Self::SoftTargets(_) => vec![teacher],
        };
        needs.expect(&roles)?;
        if let Self::Train(cell) = self {
            let teachers = needs.all("teacher");
            cell.mean_of(teachers.len())?;
            if let Some(layers) = cell.inherit_layers {
                cell.check_inherited(layers, teachers)?;
            }
            for Parsed { spec, .. } in teachers {
                if let Self::Train(teacher) = spec {
                    kd_paper::validation::check_teacher(cell.validation, teacher.validation)?;
                }
            }
        }
        if !matches!(self, Self::Train(_)) {
            for (role, needed) in needs.roles() {
                let untested = |other: &&&Parsed<Self>| matches!(&other.spec, Self::Train(cell) if cell.validation.is_some());
                if let Some(other) = needed.iter().find(untested) {
                    let what = "expected a network that is measured on the test images";
                    let got = other.cell.short_label();
                    return Err(Error::bad_input(format!(
                        "needs.{role}: {what}, got {got}, which has validation"
                    ))
                    .into());
                }
            }
        }
        if let (Self::Bias(cell), &[Parsed { spec: Self::Train(student), .. }]) =
            (self, needs.all("student"))
        {
            let ExamplesPart { limit, held_out, .. } = student.examples;
            if (cell.limit, cell.held_out) != (limit, held_out) {
                let what =
                    format!("expected the student's own limit {limit} and held-out {held_out}");
                return Err(Error::bad_input(format!(
                    "{what}, got {} and {}",
                    cell.limit, cell.held_out
                ))
                .into());
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::Train(cell) => {
                cell.network.full().check()?;
                cell.examples.check()?;
                cell.validation.as_ref().map_or(Ok(()), Validation::check)?;
                cell.train.check()?;
                cell.check_method()
            }
            Self::Bias(cell) => {
                check_classes("digits", &cell.digits.list())?;
                let steps = (cell.to - cell.from) / cell.step;
                if !(steps.is_finite() && (0. ..=10_000.).contains(&steps) && cell.step > 0.) {
                    let BiasCell { from, to, step, .. } = cell;
                    return Err(Error::bad_input(format!(
                        "expected at most 10,000 steps up, got from {from} to {to} by {step}"
                    )));
                }
                if !(cell.held_out > 0. && cell.held_out < 1.) {
                    return Err(Error::bad_input(format!(
                        "the bias is chosen on held-out images: expected held-out above 0 and below 1, got {}",
                        cell.held_out
                    )));
                }
                Ok(())
            }
            Self::Ensemble(_) => Ok(()),
            Self::GradientLimit(cell) => {
                check_temperature(cell.temperature)?;
                Error::unless_within("images", cell.images, 1..=100_000_000)
            }
            Self::SoftTargets(cell) => {
                check_temperature(cell.temperature)?;
                cell.pairs
                    .iter()
                    .try_for_each(|&(a, b)| check_classes("pairs", &[a.min(b), a.max(b)]))
            }
        }
    }
}
