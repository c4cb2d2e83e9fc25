//! Other programs' words for the same layers.

use std::collections::{BTreeMap, BTreeSet};

use crate::torch_checkpoint::value::brief;

/// Words that stand for the same part of a network. Of each row a network uses one.
const SAME: [&[&str]; 2] = [
    &["downsample", "shortcut", "skip", "projection", "identity_downsample"],
    &["fc", "linear", "classifier", "head", "output"],
];
/// The same, with the number of the stage behind them.
const NUMBERED: [&[&str]; 1] = [&["layer", "stage", "block", "group", "stage_", "layer_"]];

/// The names with their words replaced by those of `own`, where each row of synonyms has one word
/// in `own` and one other in `names`; and which were replaced. `None` where none are.
pub fn translate(names: &[&str], own: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
    let words = |names: &[&str]| -> BTreeSet<String> {
        names.iter().flat_map(|name| name.split('.')).map(str::to_owned).collect()
    };
    let (theirs, ours) = (words(names), words(own));
    let mut replaced = BTreeMap::new();
    for row in SAME {
        let used = |among: &BTreeSet<String>| -> Vec<&str> {
            row.iter().copied().filter(|word| among.contains(*word)).collect()
        };
        if let ([their], [our]) = (&used(&theirs)[..], &used(&ours)[..])
            && their != our
        {
            replaced.insert((*their).to_owned(), (*our).to_owned());
        }
    }
    for row in NUMBERED {
        let used = |among: &BTreeSet<String>| -> BTreeSet<&str> {
            let stems = among.iter().filter_map(|word| numbered(word)).map(|(stem, _)| stem);
            let stems: BTreeSet<String> = stems.map(str::to_owned).collect();
            row.iter().copied().filter(|word| stems.contains(*word)).collect()
        };
        let (their, our) = (used(&theirs), used(&ours));
        if let (Some(their), Some(our)) = (their.first(), our.first())
            && theirs.iter().filter_map(|w| numbered(w)).any(|(stem, _)| stem == *their)
            && used(&theirs).len() == 1
            && used(&ours).len() == 1
            && their != our
        {
            for (word, (_, number)) in theirs.iter().filter_map(|w| Some((w, numbered(w)?))) {
                if word.starts_with(their) {
                    replaced.insert(word.clone(), format!("{our}{number}"));
                }
            }
        }
    }
    if replaced.is_empty() {
        return None;
    }
    let other = |word: &str| replaced.get(word).map_or(word, |w| &**w).to_owned();
    let renamed =
        names.iter().map(|name| name.split('.').map(other).collect::<Vec<_>>().join(".")).collect();
    Some((renamed, replaced.iter().map(|(their, our)| format!("{their} -> {our}")).collect()))
}

/// A word and the number behind it.
fn numbered(word: &str) -> Option<(&str, &str)> {
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    (!stem.is_empty() && stem.len() < word.len()).then(|| word.split_at(stem.len()))
}

/// Which layers are called otherwise: by the words that differ, where these always mean the same,
/// else each by its whole name.
pub fn mapping(pairs: &[(&str, &str)]) -> Vec<String> {
    let differing: Vec<_> = pairs.iter().filter(|(their, our)| their != our).collect();
    let mut words = BTreeMap::new();
    let by_words = differing.iter().all(|(their, our)| {
        let (their, our): (Vec<_>, Vec<_>) = (their.split('.').collect(), our.split('.').collect());
        their.len() == our.len()
            && their
                .iter()
                .zip(our)
                .all(|(their, our)| *words.entry(their.to_string()).or_insert(our) == our)
    });
    let line = |their: &str, our: &str| format!("{} -> {}", brief(their), brief(our));
    match by_words {
        true => words
            .iter()
            .filter(|(their, our)| *their != *our)
            .map(|(their, our)| line(their, our))
            .collect(),
        false => differing.iter().map(|(their, our)| line(their, our)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_where_each_side_has_one_for_the_same_thing() {
        let own =
            ["conv1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight", "fc.bias"];
        let theirs =
            ["conv1.weight", "stage1.0.conv1.weight", "stage2.0.shortcut.0.weight", "linear.bias"];
        let (renamed, mapping) = translate(&theirs, &own).expect("other words");
        assert_eq!(renamed, own);
        assert_eq!(
            mapping,
            ["linear -> fc", "shortcut -> downsample", "stage1 -> layer1", "stage2 -> layer2"]
        );
        assert!(translate(&own, &own).is_none());
        // Two words of a row on one side: which is meant is not known.
        assert!(translate(&["head.weight", "linear.weight"], &["fc.weight"]).is_none());
    }

    #[test]
    fn layers_are_mapped_by_words_where_these_always_mean_the_same() {
        let pairs = [("conv", "conv1"), ("a.0.x", "a.0.y"), ("a.1.x", "a.1.y"), ("z", "z")];
        assert_eq!(mapping(&pairs), ["conv -> conv1", "x -> y"]);
        let pairs = [("f.0", "conv1"), ("z", "z")];
        assert_eq!(mapping(&pairs), ["f.0 -> conv1"]);
    }
}
