//! "Did you mean": the known name that is nearest to a misspelt one.

const LONGEST: usize = 100;

/// The name among `known` nearest to `word` by Levenshtein distance in characters, if it is near
/// enough to be a likely typo (a third of its length, at least 2). Words of more than 100 bytes are
/// near to none: no name is so long, and a distance takes time by the product of the lengths.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    known
        .into_iter()
        .filter(|name| name.len() <= LONGEST && word.len() <= LONGEST)
        .map(|name| (strsim::levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// ` (did you mean ...?)`, or the whole list where nothing is near: the tail of a message about an
/// unknown name.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_name_and_a_stranger_does_not() {
        assert_eq!(nearest("temprature", ["teacher", "temperature"]), Some("temperature"));
        assert_eq!(nearest("sedes", ["seeds", "title"]), Some("seeds"));
        assert_eq!(nearest("bananas", ["seeds", "title"]), None);
        assert_eq!(hint("x", ["seeds", "title"]), "; known: seeds, title");
    }

    #[test]
    fn distances_are_counted_in_characters_and_the_first_of_equals_wins() {
        assert_eq!(nearest("größe", ["grösse", "gröäü"]), Some("grösse"));
        assert_eq!(nearest("rate", ["date", "race"]), Some("date"));
    }
}
