//! The data set that a paper's cells are of.

use kd_core::data::Provenance;
use kd_experiment::DataIdentity;

/// What names the results and the cells of a data set.
pub fn identity(of: &Provenance) -> DataIdentity {
    DataIdentity {
        dataset: of.name(),
        fingerprint: of.content.clone(),
        note: of.note.clone(),
        comparable: of.is_comparable(),
    }
}
