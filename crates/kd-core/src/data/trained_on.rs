//! What a network has to be shown to answer as it was trained to.

use serde::{Deserialize, Serialize};

use super::Normalisation;

/// What a network was trained on, as its file says it (see
/// [`save_trained`](crate::train::checkpoint::save_trained)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainedOn {
    /// The data set and its content, `cifar100:943eaa0127689010`; none where nobody knows, as of
    /// networks that were trained elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How its images became numbers.
    pub normalisation: Normalisation,
    /// The names of the classes, by label; empty where the data set has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}
