//! What a line of text says, whatever blanks it is written with.

use std::borrow::Cow;

use kd_base::message::joined;

/// A line as networks are trained on it and translate it: without white space, byte-order marks and
/// other characters of no width at either end, and with one space for each run of white space
/// between words. A line without words is empty.
///
/// White space is Unicode's: tabs, line ends and no-break spaces belong to it. BLEU counts words
/// alike, so a score does not depend on it.
///
/// ```
/// use kd_translation::bitext::sentence;
/// assert_eq!(sentence("\u{feff}a  dog\truns \r\n"), "a dog runs");
/// assert_eq!(sentence("\u{a0}\t"), "");
/// ```
pub fn sentence(line: &str) -> Cow<'_, str> {
    let line = trimmed(line);
    let plain = |(a, b): (char, char)| !b.is_whitespace() || (b == ' ' && !a.is_whitespace());
    if line.chars().zip(line.chars().skip(1)).all(plain) {
        Cow::Borrowed(line)
    } else {
        Cow::Owned(joined(line))
    }
}

/// Puts [`sentence`] of it in a line's place.
pub(crate) fn tidy(line: &mut String) {
    let tidied = sentence(line);
    if tidied != *line {
        *line = tidied.into_owned();
    }
}

/// A line without what means nothing at either end.
pub(super) fn trimmed(line: &str) -> &str {
    line.trim_matches(|c: char| c.is_whitespace() || NO_WIDTH.contains(&c))
}

/// The byte-order mark, which editors put at the front of a file; a space of no width; a joiner.
const NO_WIDTH: [char; 3] = ['\u{feff}', '\u{200b}', '\u{2060}'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_at_the_ends_and_runs_of_them_mean_nothing() {
        for line in [
            "a dog runs",
            " a dog runs",
            "a dog runs \t",
            "\u{feff}a dog runs",
            "a dog runs\u{a0}",
            "a  dog runs",
            "a\tdog\u{a0}runs\r",
            "\u{200b} a dog \n runs\u{2028}",
        ] {
            assert_eq!(sentence(line), "a dog runs", "{line:?}");
            let mut own = line.to_owned();
            tidy(&mut own);
            assert_eq!(own, "a dog runs", "{line:?}");
        }
        for line in ["", " ", "\t", "\u{a0}", "\u{feff}", "\u{feff} \u{200b}\r"] {
            assert_eq!(sentence(line), "", "{line:?}");
        }
    }

    #[test]
    fn what_is_written_plainly_is_not_copied() {
        assert!(matches!(sentence("ein Hund läuft ."), Cow::Borrowed(_)));
        assert!(matches!(sentence(" ein Hund"), Cow::Borrowed("ein Hund")));
    }
}
