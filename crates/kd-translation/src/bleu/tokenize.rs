//! How text is cut into tokens for scoring.

/// A segment in the tokens of mteval-v13a, the script of the WMT evaluations, as sacrebleu has
/// them: separated by one space each.
///
/// Four entities are decoded; most ASCII punctuation stands alone, full stops and commas unless
/// digits are on both sides, a hyphen behind a digit. Letters outside of ASCII are left as they
/// are.
///
/// ```
/// assert_eq!(kd_translation::bleu::tokenize_13a("It's 1,000.5 m, or so."), "It's 1,000.5 m , or so .");
/// ```
pub fn tokenize_13a(segment: &str) -> String {
    // `<skipped>` marks what a reference leaves out; a hyphen at a line's end joins the halves of a
    // word.
    let mut line = segment
        .trim_end_matches(is_space)
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ");
    for (entity, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        line = line.replace(entity, character);
    }
    // The rules are substitutions over the whole line, one after the other, each looking at
    // characters that the one before put there. A space on either side lets them look beyond
    // the ends.
    let mut text: Vec<char> = Vec::with_capacity(2 * line.len() + 2);
    for c in std::iter::once(' ').chain(line.chars()).chain([' ']) {
        if is_mark(c) { text.extend([' ', c, ' ']) } else { text.push(c) }
    }
    let stop = |c: char| c == '.' || c == ',';
    let text =
        substitute(&text, |a, b| !a.is_ascii_digit() && stop(b), |a, b| vec![a, ' ', b, ' ']);
    let text =
        substitute(&text, |a, b| stop(a) && !b.is_ascii_digit(), |a, b| vec![' ', a, ' ', b]);
    let text =
        substitute(&text, |a, b| a.is_ascii_digit() && b == '-', |a, b| vec![a, ' ', b, ' ']);
    let text: String = text.into_iter().collect();
    text.split(is_space).filter(|token| !token.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Replaces pairs of neighbours from left to right; a character belongs to one pair at most.
fn substitute(
    text: &[char],
    matches: impl Fn(char, char) -> bool,
    with: impl Fn(char, char) -> Vec<char>,
) -> Vec<char> {
    let mut out = Vec::with_capacity(2 * text.len());
    let mut rest = text;
    loop {
        match *rest {
            [a, b, ..] if matches(a, b) => {
                out.extend(with(a, b));
                rest = &rest[2..];
            }
            [a, ..] => {
                out.push(a);
                rest = &rest[1..];
            }
            [] => return out,
        }
    }
}

/// ASCII punctuation that stands alone wherever it is: all but the apostrophe, comma, hyphen and
/// full stop. The space is among it, which changes nothing in the end.
fn is_mark(c: char) -> bool {
    matches!(c, ' '..='&' | '('..='+' | '/' | ':'..='@' | '['..='`' | '{'..='~')
}

/// White space as Python knows it: Unicode's, and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Runs of other bytes than ASCII white space, as Perl's `split` finds them in bytes.
pub(super) fn ascii_words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', '\r', '\x0b', '\x0c']).filter(|word| !word.is_empty())
}
