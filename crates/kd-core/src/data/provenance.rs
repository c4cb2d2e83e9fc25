//! Which data a run used.

use serde::Serialize;

/// Enough to keep results of different data apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The data set that was asked for, such as `mnist` or `embedded`.
    pub dataset: &'static str,
    /// Whether the content is that data set's.
    pub known: Known,
    /// Where it was found: a directory, a file of the hub's cache, or the generator's arguments.
    pub found: String,
    /// Something that the user should be told: why data is generated, or that a directory's files
    /// are not the original's.
    pub note: Option<String>,
    /// The data set's content hash: part of the names of experiments' cells.
    pub content: String,
}

/// What is known of a data set's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// It is the original's.
    Original,
    /// It has the original's numbers of examples, and there is nothing more to compare it with.
    Unchecked,
    /// It is other data: the user's own.
    Other,
    /// It is generated from the seed.
    Generated,
}

impl Provenance {
    /// What results of this data are called. The name follows from the content: the data set's own
    /// name stands for the original alone, and other data has a part of its content hash behind it.
    pub fn name(&self) -> String {
        match self.known {
            Known::Original | Known::Generated => self.dataset.to_owned(),
            Known::Unchecked | Known::Other => {
                format!("{}-{}", self.dataset, self.content.get(..8).unwrap_or(&self.content))
            }
        }
    }

    /// Whether numbers measured on it may be compared with those published for the data set.
    pub fn is_comparable(&self) -> bool {
        matches!(self.known, Known::Original | Known::Unchecked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_original_has_the_data_sets_name() {
        let name = |known| {
            let (dataset, content) = ("mnist", "0123456789abcdef".to_owned());
            let of = Provenance { dataset, known, found: String::new(), note: None, content };
            (of.name(), of.is_comparable())
        };
        assert_eq!(name(Known::Original), ("mnist".to_owned(), true));
        assert_eq!(name(Known::Unchecked), ("mnist-01234567".to_owned(), true));
        assert_eq!(name(Known::Other), ("mnist-01234567".to_owned(), false));
        assert_eq!(name(Known::Generated), ("mnist".to_owned(), false));
    }
}
