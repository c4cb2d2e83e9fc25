//! The data set that an experiment is for.

/// Enough to keep results of different data apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataIdentity {
    /// Its name: `mnist`, `embedded`. Names the results folder.
    pub dataset: String,
    /// What tells its content apart from another of the same name, for instance a checksum.
    pub fingerprint: String,
    /// What the user has to know about it, for instance that it stands in for another.
    pub note: Option<String>,
}

impl DataIdentity {
    /// True for the generated stand-in, whose numbers must not stand beside a paper's.
    pub fn is_embedded(&self) -> bool {
        self.dataset.starts_with("embedded")
    }
}
