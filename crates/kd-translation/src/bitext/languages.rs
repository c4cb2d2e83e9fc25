//! From which language to which.

use std::fmt;
use std::str::FromStr;

use kd_core::data::DataError;

/// From which language to which, as codes: what file names end in and what columns are called.
///
/// ```
/// use kd_translation::bitext::Languages;
/// let direction: Languages = "en-de".parse()?;
/// assert_eq!((direction.source(), direction.target()), ("en", "de"));
/// assert!("en-../de".parse::<Languages>().is_err());
/// # Ok::<(), kd_core::data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Languages {
    pub(super) source: String,
    pub(super) target: String,
}

impl Languages {
    /// Two different codes of ASCII letters, digits and underscores, such as `en` and `zh_Hans`.
    ///
    /// # Errors
    /// [`DataError::Argument`] for anything else: codes become parts of file names.
    pub fn new(source: &str, target: &str) -> Result<Self, DataError> {
        let fit = |code: &str| {
            !code.is_empty()
                && code.len() <= 32
                && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !fit(source) || !fit(target) || source == target {
            let expected =
                "two different codes of letters, digits and underscores, such as en-de".to_string();
            return Err(DataError::Argument {
                what: "languages",
                expected,
                got: format!("{source}-{target}"),
            });
        }
        Ok(Self { source: source.to_string(), target: target.to_string() })
    }

    /// The language to translate from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The language to translate to.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl FromStr for Languages {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (source, target) = text.split_once('-').unwrap_or((text, ""));
        Self::new(source, target)
    }
}

impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.source, self.target)
    }
}
