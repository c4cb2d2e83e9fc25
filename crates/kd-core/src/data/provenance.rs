//! Which data a run used.

use serde::Serialize;

/// Enough to keep results of different data apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The data set's name, such as `mnist` or `embedded`; names the results' folder.
    pub dataset: &'static str,
    /// Where it was found: a directory, a file of the hub's cache, or the generator's arguments.
    pub found: String,
    /// Something that the user should be told: why data is generated, or that a directory's files
    /// are not the original's.
    pub note: Option<String>,
    /// The data set's content hash: part of the names of experiments' cells.
    pub content: String,
}
