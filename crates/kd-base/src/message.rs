//! Messages of one line. Parsers add source excerpts and network errors hide their cause; neither
//! may reach a user like that.

use std::error::Error;
use std::fmt::Display;

/// The text of an error with its lines joined by `; `, empty ones left out.
pub fn one_line(error: &dyn Display) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// An error's message with its causes, on one line: network errors keep what matters ("connection
/// refused") in the innermost cause.
pub fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        // Several layers repeat their cause's text in their own.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = inner.source();
    }
    joined(&line)
}

/// Text with every run of white space, line ends included, as one space, and none at either end.
pub fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The most things that a message lists, and the most characters of the list.
const LISTED: usize = 5;
const LISTED_CHARACTERS: usize = 280;

/// Up to five of `things`, as many as make a line that a person reads, and how many more there are.
pub fn some(things: &[String]) -> String {
    let (mut line, mut n) = (String::new(), 0);
    for thing in things.iter().take(LISTED) {
        if n > 0 && line.chars().count() + thing.chars().count() > LISTED_CHARACTERS {
            break;
        }
        line.push_str(if n == 0 { "" } else { ", " });
        line.push_str(thing);
        n += 1;
    }
    match things.len() - n {
        0 => line,
        more => format!("{line} and {more} more"),
    }
}

/// How many there are of a thing: `1 line`, `2 lines`. The plural is the name with an `s` behind it.
pub fn count(n: usize, name: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {name}{s}")
}

/// Text with its control characters, line ends among them, written as escapes: a message may quote
/// a file and stays one line.
pub fn escaped(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(one_line(&"a\n  | b\n\nc"), "a; | b; c");
    }

    #[test]
    fn one_thing_is_no_plural() {
        let lines = [0, 1, 2].map(|n| count(n, "empty line"));
        assert_eq!(lines, ["0 empty lines", "1 empty line", "2 empty lines"]);
    }

    #[test]
    fn control_characters_are_escaped_and_other_text_stays() {
        assert_eq!(escaped("a\nb\u{1b}[0m é".to_owned()), "a\\nb\\u{1b}[0m é");
        assert_eq!(escaped("as it is".to_owned()), "as it is");
    }

    #[test]
    fn a_list_names_five_things_at_most_and_counts_the_others() {
        let things = |n: usize, width: usize| vec!["x".repeat(width); n];
        assert_eq!(some(&[]), "");
        assert_eq!(some(&things(2, 1)), "x, x");
        assert_eq!(some(&things(5, 1)), "x, x, x, x, x");
        assert_eq!(some(&things(2000, 1)), "x, x, x, x, x and 1995 more");
        let long = some(&things(9, 100));
        assert!(long.len() < 300 && long.ends_with(" and 7 more"), "{long}");
    }

    #[test]
    fn causes_are_told_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("no answer")]
        struct Outer(#[source] std::io::Error);
        let refused =
            std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused\n by the server");
        assert_eq!(with_causes(&Outer(refused)), "no answer: refused by the server");
    }
}
