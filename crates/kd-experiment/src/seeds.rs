//! Lists of seeds, as they are written on a command line and in experiment files.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Value;

use super::reading::expected;

/// Seeds in the order given, each once, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

impl FromStr for Seeds {
    type Err = String;

    /// Reads `7`, `1,2,3` or `1..3`; both ends of a range belong to it.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            part.trim()
                .parse::<u64>()
                .map_err(|_| format!("`{text}` is no list of seeds: expected 1,2,3 or 1..3"))
        };
        let seeds = match text.split_once("..") {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
                if last.saturating_sub(first) >= 10_000 {
                    return Err(format!("`{text}` is a range of more than 10000 seeds"));
                }
                (first..=last).collect()
            }
            None => text.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
        };
        Self::new(seeds)
    }
}

impl Seeds {
    /// Checks that there is a seed and that none is given twice: a repeated seed would count twice
    /// in a mean.
    pub fn new(seeds: Vec<u64>) -> Result<Self, String> {
        if seeds.is_empty() {
            return Err("expected at least one seed, got none".to_string());
        }
        let mut seen = BTreeSet::new();
        match seeds.iter().find(|seed| !seen.insert(**seed)) {
            Some(twice) => Err(format!("seed {twice} is given twice")),
            None => Ok(Self(seeds)),
        }
    }
}

/// A list of numbers, or a string as on the command line.
impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let wrong = || expected("a list of seeds or a range \"1..3\"", &value);
        let seeds = match &value {
            Value::String(text) => text.parse(),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_integer().and_then(|seed| u64::try_from(seed).ok()))
                .collect::<Option<Vec<u64>>>()
                .ok_or_else(wrong)
                .and_then(Seeds::new),
            _ => Err(wrong()),
        };
        seeds.map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_inclusive_ranges_are_read() {
        assert_eq!("7".parse::<Seeds>().unwrap().0, [7]);
        assert_eq!("3,1, 2".parse::<Seeds>().unwrap().0, [3, 1, 2]);
        assert_eq!("1..3".parse::<Seeds>().unwrap().0, [1, 2, 3]);
        assert_eq!("1..=3".parse::<Seeds>().unwrap().0, [1, 2, 3]);
    }

    #[test]
    fn empty_repeated_and_malformed_seeds_are_refused() {
        for text in ["", "a", "3..1", "1,1", "-1", "1..99999999999"] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }
}
