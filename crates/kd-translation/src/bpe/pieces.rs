//! How text is cut into words before these are cut into tokens.

use unicode_categories::UnicodeCategories;

/// Stands for a space.
pub(super) const SPACE: char = '▁';

/// Calls `piece` with each word of `text` in turn: `▁` and a run of characters, the rest of such a
/// run behind punctuation, or one punctuation character. `None` stands for a `▁` in the text
/// itself, which no token may claim.
pub(super) fn pieces(text: &str, mut piece: impl FnMut(Option<&str>)) {
    if text.is_empty() {
        return;
    }
    let mut word = String::new();
    let mut buffer = [0; 4];
    for run in text.split(' ') {
        word.push(SPACE);
        for c in run.chars() {
            let alone = c == SPACE || c.is_ascii_punctuation() || c.is_punctuation();
            if !alone {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                piece(Some(&word));
                word.clear();
            }
            piece((c != SPACE).then(|| &*c.encode_utf8(&mut buffer)));
        }
        if !word.is_empty() {
            piece(Some(&word));
            word.clear();
        }
    }
}
