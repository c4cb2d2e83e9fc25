//! Values as people write them on a command line.

use toml::{Table, Value};

/// A value as TOML has it, `4.0`, `[800, 800]`, `"crd"`; what is none is text without quotes.
pub fn of_text(text: &str) -> Value {
    let read = format!("value = {text}").parse::<Table>();
    let value = read.ok().filter(|table| table.len() == 1).and_then(|mut t| t.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The values of a list whose items commas part, but for those within brackets, braces and quotes.
///
/// # Errors
/// A line about an item that is empty.
pub(crate) fn list(text: &str) -> Result<Vec<Value>, String> {
    let (mut depth, mut quote, mut start) = (0usize, None, 0);
    let mut items = Vec::new();
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    let item = |item: &&str| match item.trim() {
        "" => Err(format!("expected values with commas between them, got `{text}`")),
        item => Ok(of_text(item)),
    };
    items.iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_of_toml_is_text() {
        assert_eq!(of_text("4"), Value::Integer(4));
        assert_eq!(of_text("0.5"), Value::Float(0.5));
        assert_eq!(of_text("crd"), Value::String("crd".into()));
        assert_eq!(of_text("\"crd\""), Value::String("crd".into()));
        // Not a second key.
        assert_eq!(of_text("1\nother = 2"), Value::String("1\nother = 2".into()));
    }

    #[test]
    fn commas_within_brackets_braces_and_quotes_part_nothing() {
        let texts = |text: &str| list(text).map(|all| all.iter().map(Value::to_string).collect());
        let read = |text: &str| -> Vec<String> { texts(text).expect("a list") };
        assert_eq!(read("2,4, 8"), ["2", "4", "8"]);
        assert_eq!(read("[800, 800],[400]"), ["[800, 800]", "[400]"]);
        assert_eq!(read("\"a,b\",c"), ["\"a,b\"", "\"c\""]);
        assert_eq!(read("{ kind = \"steps\", at = [1, 2] },x").len(), 2);
        for empty in ["", ",", "1,", "1,,2", " "] {
            let said = list(empty).expect_err("an empty item");
            assert!(said.starts_with("expected values"), "{empty:?}: {said}");
        }
        // Nothing that is not closed makes it fail.
        assert_eq!(read("[1,2"), ["\"[1,2\""]);
    }
}
