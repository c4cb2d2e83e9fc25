//! The map has to show the country.

use std::path::Path;

#[test]
fn every_path_that_architecture_md_names_exists_and_it_stays_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    assert!(text.lines().count() <= 200, "{} lines", text.lines().count());
    let words = text.split(|c: char| c.is_whitespace() || "`,|()".contains(c));
    let paths: Vec<&str> = words
        .filter(|w| ["crates/", "scripts/", ".ci/"].iter().any(|p| w.starts_with(p)))
        .collect();
    assert!(paths.len() > 10, "{paths:?}");
    let missing: Vec<&&str> =
        paths.iter().filter(|p| !root.join(p.trim_end_matches(['.', ':', ';'])).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
