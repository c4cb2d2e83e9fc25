//! What the rows of this paper's experiment files say: one strict type per kind of cell.

use candle_core::Device;
use kd_core::data::{CropFlip, Normalisation};
use kd_core::method::MethodSpec;
use kd_core::model::NetworkSpec;
use kd_core::params::Params;
use kd_core::run::{AnyError, Cell, Needs};
use kd_core::train::TrainSpec;
use kd_core::{Error, Result, Seed};
use serde::Deserialize;

use crate::precision::Precision;

/// A kind of cell with its specification.
pub enum CellSpec {
    /// `train`: a network on hard targets.
    Train(Box<TrainCell>),
}

impl CellSpec {
    /// Reads and checks a cell's specification.
    ///
    /// # Errors
    /// Bad input that names the cell and what does not fit.
    pub fn read(cell: &Cell) -> Result<Self, AnyError> {
        match &*cell.kind {
            "train" => {
                let spec: TrainCell = cell.spec_as()?;
                spec.check()?;
                Ok(Self::Train(Box::new(spec)))
            }
            other => Err(Error::bad_input(format!("unknown kind '{other}': expected train")).into()),
        }
    }

    /// Checks that the cell needs no other one.
    ///
    /// # Errors
    /// Bad input that names the role.
    pub fn check_needs(&self, needs: &Needs) -> Result<(), AnyError> {
        Ok(needs.expect(&[])?)
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
    /// How the loss is made.
    pub method: MethodSpec,
    /// The recipe.
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

    fn check(&self) -> Result<()> {
        self.network(2)?;
        self.train.check()?;
        match self.method.build()?.wants().teacher {
            true => {
                Err(Error::bad_input("method: expected hard-targets, got one that needs a teacher, which cells of this paper have not"))
            }
            false => Ok(()),
        }
    }

    /// A rough estimate for listings: three passes of the network's multiply-adds at 150 GFLOP/s, on the whole of CIFAR.
    pub fn seconds_on_two_cores(&self) -> f64 {
        let network = self.network(100).and_then(|spec| spec.build(Params::seeded(Seed(0), &Device::Cpu).1));
        let multiply_adds = network.map_or(0, |n| n.multiply_adds());
        let images = if self.examples.limit == 0 { 50_000 } else { self.examples.limit };
        6. * multiply_adds as f64 * images as f64 * self.train.epochs as f64 / 150e9
    }
}
