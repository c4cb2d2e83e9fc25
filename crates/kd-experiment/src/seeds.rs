//! Lists of seeds, as they are written on a command line and in experiment files.

use std::collections::BTreeSet;
use std::str::FromStr;

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
