//! What each kind of cell does.

pub mod bias;
pub mod ensemble;
pub mod gradient_limit;
pub mod soft_targets;
pub mod train;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use kd_core::train::checkpoint;
use kd_core::{Error, Result};

use crate::spec::CLASSES;

/// The file of its logits on all training images and on the test images.
pub const LOGITS: &str = "logits.safetensors";

/// A network's logits, row-major.
pub struct Logits {
    /// On all training images, in their order, un-jittered.
    pub train: Vec<f32>,
    /// On the test images; empty where the network was not measured on them.
    pub test: Vec<f32>,
}

impl Logits {
    /// Reads them from a `train` cell's folder.
    ///
    /// # Errors
    /// Bad input when the file is damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(LOGITS);
        let (tensors, ()) = checkpoint::load(&path, &Device::Cpu)?;
        let part = |name: &str| -> Result<Option<Vec<f32>>> {
            let part = tensors.get(name).map(|t| Ok::<_, Error>(t.flatten_all()?.to_vec1()?));
            part.transpose()
        };
        let train = part("train")?.ok_or_else(|| {
            Error::bad_input(format!("{}: expected a tensor 'train', got none", path.display()))
        })?;
        Ok(Self { train, test: part("test")?.unwrap_or_default() })
    }

    /// Writes them to a `train` cell's folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(dir: &Path, train: Tensor, test: Option<Tensor>) -> Result<()> {
        let mut tensors = BTreeMap::from([("train".to_owned(), train)]);
        tensors.extend(test.map(|test| ("test".to_owned(), test)));
        checkpoint::save(&dir.join(LOGITS), &tensors, &())
    }
}

/// Logits as a matrix.
///
/// # Errors
/// When their number is not a multiple of the classes.
pub fn matrix(logits: &[f32]) -> Result<Tensor> {
    Ok(Tensor::from_slice(logits, (logits.len() / CLASSES, CLASSES), &Device::Cpu)?)
}
