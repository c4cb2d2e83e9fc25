//! What the option `--data` of a program takes.

use clap::Arg;
use clap::builder::PossibleValuesParser;

/// What `--data` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataChoices {
    /// One of these names; another is refused when the arguments are parsed.
    Names(&'static [&'static str]),
    /// What the program itself will read, with its words for `--help`.
    Described(&'static str),
}

impl From<&'static [&'static str]> for DataChoices {
    fn from(names: &'static [&'static str]) -> Self {
        Self::Names(names)
    }
}

impl<const N: usize> From<&'static [&'static str; N]> for DataChoices {
    fn from(names: &'static [&'static str; N]) -> Self {
        Self::Names(names)
    }
}

impl DataChoices {
    pub(super) fn of(self, argument: Arg) -> Arg {
        match self {
            Self::Names(names) => argument.value_parser(PossibleValuesParser::new(names)),
            Self::Described(help) => argument.value_name("NAME|DIR").help(help),
        }
    }
}
