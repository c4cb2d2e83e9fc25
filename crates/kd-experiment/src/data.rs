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
    /// Whether numbers measured on it may be compared with a paper's: false for generated data and
    /// for other data than the data set's.
    pub comparable: bool,
}

impl DataIdentity {
    /// `name:fingerprint`, as cells are named by it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.dataset, self.fingerprint)
    }
}
