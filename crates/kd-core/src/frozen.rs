//! Teachers, frozen by type.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use kd_kernels::conv2d::Precision;

use crate::model::NetworkSpec;
use crate::model::{Mode, Model, Outputs};
use crate::train::checkpoint;
use crate::{Error, Result, params};

/// The file of a trained network in its cell's folder.
pub const NETWORK: &str = "network.safetensors";

/// A network that cannot train: it is built from constants, runs in evaluation mode (or, where a
/// paper did, with the statistics of each batch) and returns detached tensors, so neither a graph
/// nor a variable of it can reach an optimiser.
pub struct Frozen<M> {
    network: M,
    mode: Mode,
    tensors: BTreeMap<String, Tensor>,
}

/// A frozen network of any kind, as distillation methods see their teacher.
pub type Teacher = Frozen<Box<dyn Model>>;

impl<M: Model> Frozen<M> {
    /// Builds the network from a checkpoint's tensors.
    ///
    /// # Errors
    /// Bad input when the tensors do not fit the network exactly, or are not finite.
    pub fn build(
        tensors: BTreeMap<String, Tensor>,
        device: &Device,
        build: impl FnOnce(VarBuilder<'static>) -> Result<M>,
    ) -> Result<Self> {
        Ok(Self {
            network: params::build_frozen(tensors.clone(), device, build)?,
            mode: Mode::Evaluate,
            tensors,
        })
    }

    /// The same network, whose batch-norms normalise with the statistics of each batch: see
    /// [`Mode::BatchStatistics`].
    pub fn with_batch_statistics(self) -> Self {
        Self { mode: Mode::BatchStatistics, ..self }
    }

    /// Logits and the named taps of `xs`, detached.
    ///
    /// # Errors
    /// When a tap is unknown or the shapes do not fit.
    pub fn forward(&self, xs: &Tensor, taps: &[&str]) -> Result<Outputs> {
        let out = self.network.forward(xs, taps, self.mode)?;
        Ok(Outputs {
            logits: out.logits.detach(),
            taps: out.taps.iter().map(Tensor::detach).collect(),
        })
    }

    /// The network's description: its taps, multiply-adds and so on.
    pub fn model(&self) -> &M {
        &self.network
    }

    /// One of its weights or running statistics, by the name in its file.
    ///
    /// # Errors
    /// Bad input when the network has no tensor of this name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::bad_input(format!("the teacher has no tensor '{name}'")))
    }
}

/// A network read back from its file.
pub struct Saved {
    /// The network.
    pub network: Frozen<Box<dyn Model>>,
    /// What it is.
    pub spec: NetworkSpec,
    /// How many numbers its parameters hold, without its buffers.
    pub parameters: usize,
}

impl Saved {
    /// [`Saved::load_with`] with [`Precision::Precise`].
    ///
    /// # Errors
    /// Those of [`Saved::load_with`].
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        Self::load_with(path, Precision::Precise, device)
    }

    /// Reads a network that [`checkpoint::save`] wrote with its [`NetworkSpec`] as the description;
    /// `precision` is that of its convolutions.
    ///
    /// # Errors
    /// Bad input when the file is no network, or its tensors do not fit the network that it
    /// describes.
    pub fn load_with(path: &Path, precision: Precision, device: &Device) -> Result<Self> {
        let (tensors, spec) = checkpoint::load::<NetworkSpec>(path, device)?;
        let parameters = tensors
            .iter()
            .filter(|(name, _)| !params::is_buffer(name))
            .map(|(_, t)| t.elem_count())
            .sum();
        let network = Frozen::build(tensors, device, |vb| spec.build_with(precision, vb))
            .map_err(|e| e.about(path))?;
        Ok(Self { network, spec, parameters })
    }
}
