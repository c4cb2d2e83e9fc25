//! Bad input of every kind.

use std::path::Path;

use super::*;

#[test]
fn numbers_that_no_memory_or_machine_holds_are_refused_before_anything_is_read() {
    let dir = folder();
    let cases: [(&[&str], &str); 6] = [
        (&["--beam", "100000"], "search.beam: expected 1 to 1000, got 100000"),
        (&["--batch", "18446744073709551615"], "search.batch: expected 1 to 65536"),
        (&["--length-extra", "18446744073709551615"], "search.length-extra"),
        (&["--length-factor", "inf"], "length-factor"),
        (&["--threads", "100000"], "expected a whole number from 1 to 1024, got `100000`"),
        (&["--beam", "99999999999999999999"], "--beam"),
    ];
    for (arguments, part) in cases {
        let arguments = [&["translate", "gone"], arguments].concat();
        let output = command(dir.path(), &arguments).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    for (name, value, part) in [
        ("KD_KERNELS", "avx1024", "KD_KERNELS: expected off, portable, avx2 or avx512, got"),
        ("RAYON_NUM_THREADS", "100000", "RAYON_NUM_THREADS: expected a whole number from 1 to"),
        ("CANDLE_NUM_THREADS", "100000", "CANDLE_NUM_THREADS: expected a whole number from 1 to"),
    ] {
        for arguments in [&["list", "--data", "embedded"][..], &["score", "gone", "gone"]] {
            let output = command(dir.path(), arguments).env(name, value).output();
            let output = output.expect("the binary starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn a_page_in_a_cache_below_a_tilde_is_found_in_the_home_folder_and_named() {
    let dir = folder();
    let repo = dir.path().join("cache/hub/datasets--bentrevett--multi30k");
    let snapshot = repo.join("snapshots").join("0".repeat(40));
    for folder in [repo.join("refs"), snapshot.clone()] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::write(repo.join("refs/main"), "0".repeat(40)).expect("a file");
    for name in ["train.jsonl", "val.jsonl", "test.jsonl"] {
        std::fs::write(snapshot.join(name), "<html>log in</html>").expect("a file");
    }
    let output = command(dir.path(), &["list", "small"])
        .env("HOME", dir.path())
        .env("HF_HOME", "~/cache")
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = format!(
        "error: {}: expected JSON lines, got a page of HTML or XML; delete {}, and it is downloaded again\n",
        snapshot.join("train.jsonl").display(),
        repo.display()
    );
    assert_eq!(said, expected);
}

#[test]
fn bad_text_models_and_vocabularies_are_refused_with_file_and_line() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    succeeds(dir.path(), &["train", "small/teacher", "--data", "embedded", "--to", "model"]);
    std::fs::write(path("latin.txt"), b"fine\nna\xefve\n").expect("a file");
    std::fs::write(path("long.txt"), format!("short\n{}\n", "a ".repeat(3000))).expect("a file");
    std::fs::write(path("one.txt"), "one\n").expect("a file");
    std::fs::write(path("two.txt"), "one\ntwo\n").expect("a file");
    std::fs::write(path("empty.txt"), "").expect("a file");
    let cases: [(&[&str], &[&str]); 8] = [
        (&["translate", "model", "--input", "latin.txt"], &["latin.txt: line 2", "UTF-8"]),
        (&["translate", "model", "--input", "long.txt"], &["long.txt: line 2", "at most 1023"]),
        (&["translate", "model", "--input", "gone.txt"], &["gone.txt"]),
        (
            &["translate", "model", "--input", "one.txt", "--output", "two.txt"],
            &["two.txt: exists already"],
        ),
        (&["translate", "nowhere"], &["nowhere"]),
        (&["score", "one.txt", "two.txt"], &["two.txt: expected 1 line as in one.txt, got 2"]),
        (&["score", "empty.txt", "empty.txt"], &["expected"]),
        (&["materialise", "model", "--to", "x"], &["generator.safetensors"]),
    ];
    for (arguments, expected) in cases {
        let said = refused(dir.path(), &[arguments, &["--data", "embedded"]].concat());
        assert!(expected.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    }

    let vocabulary = std::fs::read_to_string(path("model/bpe.source.json")).expect("a vocabulary");
    std::fs::copy(path("model/bpe.target.json"), path("model/bpe.source.json")).expect("a copy");
    let said =
        refused(dir.path(), &["translate", "model", "--input", "one.txt", "--data", "embedded"]);
    assert!(said.contains("vocabulary"), "{said}");
    std::fs::write(path("model/bpe.source.json"), &vocabulary[..vocabulary.len() / 2])
        .expect("a file");
    let said =
        refused(dir.path(), &["translate", "model", "--input", "one.txt", "--data", "embedded"]);
    assert!(said.contains("bpe.source.json"), "{said}");

    let text = path("text");
    std::fs::create_dir(&text).expect("a folder");
    for (name, content) in [("train", "a\nb\n"), ("valid", "a\n"), ("test", "a\n")] {
        std::fs::write(text.join(format!("{name}.en")), content).expect("a file");
        std::fs::write(text.join(format!("{name}.de")), content).expect("a file");
    }
    std::fs::write(text.join("train.de"), "a\n").expect("a file");
    let said = refused(dir.path(), &["run", "small", "--data", "directory", "--data-dir", "text"]);
    assert!(said.contains("train.de") && said.contains('2') && said.contains('1'), "{said}");
    let said = refused(dir.path(), &["run", "small", "--data", "multi30k"]);
    assert!(said.contains("HF_HUB_OFFLINE"), "{said}");
}

/// The binary on the small experiment with `from` replaced by `to` wherever it stands; what it says
/// as it refuses.
fn refused_with(from: &str, to: &str) -> String {
    let dir = folder();
    let experiments = dir.path().join("experiments");
    std::fs::create_dir_all(experiments.join("weight-distill")).expect("a folder");
    let own =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments/weight-distill/small.toml");
    let text = std::fs::read_to_string(own).expect("a file");
    assert!(text.contains(from), "{from:?} is not in the experiment");
    std::fs::write(experiments.join("weight-distill/small.toml"), text.replace(from, to))
        .expect("a file");
    let output = command_with(&experiments, dir.path(), &RUN).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{to:?}: {said}");
    assert!(!said.contains("done "), "{to:?}: something was trained\n{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(errors.len(), 1, "{to:?}: {said}");
    errors[0].to_owned()
}

#[test]
fn a_row_without_the_cells_that_it_needs_is_refused_before_anything_is_trained() {
    let cases = [
        (
            "needs = { start = \"generated\", pseudo = \"pseudo\" }",
            "",
            "needs.start: expected one cell of kind train or generate, got 0",
        ),
        (
            "needs = { start = \"generated\", pseudo = \"pseudo\" }",
            "needs = { start = \"pseudo\" }",
            "needs.start: expected one cell of kind train or generate, got small/pseudo seed 1 of kind pseudo",
        ),
        (
            "needs = { teacher = \"teacher\", pseudo = \"pseudo\" }",
            "needs = { teacher = \"teacher\", pseudo = \"teacher\" }",
            "needs.pseudo: expected at most one cell of kind pseudo, got small/teacher seed 1 of kind train",
        ),
        (
            "needs = { of = \"wd\", from = \"kd\" }",
            "needs = { of = \"wd\" }",
            "needs.from: expected one cell of kind train or generate, got 0",
        ),
        (
            "limit = 400 }\nsearch = { beam = 2",
            "limit = 300 }\nsearch = { beam = 2",
            "needs.teacher: expected the text of this cell",
        ),
        (
            "\"difference\" }",
            "\"differences\" }",
            "has no metric `differences`; did you mean `difference`?",
        ),
        (
            "start = \"network\"",
            "start = \"random\"",
            "needs.start: this cell has no such need; known: pseudo",
        ),
    ];
    for (from, to, part) in cases {
        let said = refused_with(from, to);
        assert!(said.contains(part), "expected {part:?} in\n{said}");
    }
}

#[test]
fn a_learning_rate_that_no_loss_survives_is_the_users_to_mend() {
    let said = refused_with("learning-rate = 0.003", "learning-rate = 1e30");
    assert!(said.contains("training stopped; a lower learning rate may"), "{said}");
    let said = refused_with("vocabulary = 150", "vocabulary = 1000000000000000000");
    assert!(said.contains("text.vocabulary: expected 2 to 16777216"), "{said}");
}
