//! A translator's file.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::bpe::{Vocabularies, VocabularyId};
use crate::transformer::{Transformer, TransformerSpec};
use kd_core::train::checkpoint;
use kd_core::{Error, Result, params};

/// What a translator's file says beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// What the network is made of.
    pub network: TransformerSpec,
    /// The vocabulary of the source's ids.
    pub source: VocabularyId,
    /// The vocabulary of the target's ids.
    pub target: VocabularyId,
}

/// A translator read back from its file: constants, no variables.
pub struct SavedTransformer {
    /// The network.
    pub network: Transformer,
    /// Its tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Its description.
    pub about: About,
}

impl SavedTransformer {
    /// Writes a network's tensors.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(
        path: &Path,
        tensors: &BTreeMap<String, Tensor>,
        network: &TransformerSpec,
        vocabularies: &Vocabularies,
    ) -> Result<()> {
        let (source, target) = (vocabularies.source.id().clone(), vocabularies.target.id().clone());
        checkpoint::save(path, tensors, &About { network: network.clone(), source, target })
    }

    /// Reads what [`SavedTransformer::save`] wrote.
    ///
    /// # Errors
    /// Bad input when the file is no translator, or its tensors do not fit the network that it
    /// describes.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let (tensors, about) = checkpoint::load::<About>(path, device)?;
        let network = params::build_frozen(tensors.clone(), device, |vb| {
            Transformer::new(&about.network, vb)
        })
        .map_err(|e| match e {
            Error::BadInput(what) => Error::bad_input(format!("{}: {what}", path.display())),
            other => other,
        })?;
        Ok(Self { network, tensors, about })
    }

    /// Checks that these are the vocabularies that the network was trained with.
    ///
    /// # Errors
    /// Bad input that names both.
    pub fn check(&self, vocabularies: &Vocabularies) -> Result<()> {
        vocabularies.source.check(&self.about.source, "the network's source side")?;
        vocabularies.target.check(&self.about.target, "the network's target side")?;
        Ok(())
    }
}
