//! The binary as a user runs it, on the generated language pair: repeats, threads, kills, the
//! commands that work on files, and bad input.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

fn command(dir: &Path, arguments: &[&str]) -> Command {
    command_with(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments"), dir, arguments)
}

fn command_with(experiments: &Path, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weight-distill"));
    command.args(arguments).arg("--experiments").arg(experiments).current_dir(dir);
    // A machine without a network and with an empty cache, whatever the one that runs the test has.
    command.env("HF_HOME", dir.join("hf")).env("HF_HUB_OFFLINE", "1");
    command
}

fn succeeds(dir: &Path, arguments: &[&str]) -> String {
    let output = command(dir, arguments).output().expect("the binary starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output: Output = command(dir, arguments).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    said
}

const RUN: [&str; 4] = ["run", "small", "--data", "embedded"];

/// The table without its timing column.
fn table(dir: &Path) -> String {
    let path = dir.join("results/weight-distill/embedded-quick/small.csv");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let seconds = text
        .lines()
        .next()
        .expect("a header")
        .split(',')
        .position(|c| c == "seconds")
        .expect("a column seconds");
    let without = |line: &str| {
        line.split(',')
            .enumerate()
            .filter(|(i, _)| *i != seconds)
            .map(|(_, c)| c)
            .collect::<Vec<_>>()
            .join(",")
    };
    text.lines().map(without).collect::<Vec<_>>().join("\n")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn killed_runs_go_on_to_the_table_of_an_uninterrupted_one_and_threads_do_not_change_it() {
    let (whole, killed) = (folder(), folder());
    let started = Instant::now();
    succeeds(whole.path(), &[&RUN[..], &["--threads", "1"]].concat());
    // Waits that end all over the run, in training, decoding and writing, however fast the machine
    // is: the run is at least this many of them long. They grow, because a killed run begins its
    // step anew.
    let wait = started.elapsed() / 12;
    let mut kills = 0;
    loop {
        let arguments = [&RUN[..], &["--threads", "3", "--save-every", "0"]].concat();
        let mut child = command(killed.path(), &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let end = Instant::now() + wait + wait * kills / 8;
        let status = loop {
            match child.try_wait().expect("a status") {
                Some(status) => break Some(status),
                None if Instant::now() > end => break None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if let Some(status) = status {
            assert!(status.success(), "{status}");
            break;
        }
        child.kill().expect("a kill");
        child.wait().expect("its end");
        kills += 1;
        assert!(kills < 300, "no progress between the kills");
    }
    assert!(kills >= 4, "only {kills} kills: the run is too short to be interrupted");
    assert_eq!(table(whole.path()), table(killed.path()));
}

#[test]
fn a_trained_network_translates_and_a_generator_is_materialised_to_the_network_of_its_cell() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    succeeds(dir.path(), &["train", "small/generated", "--data", "embedded", "--to", "student"]);
    assert!(at("student/network.safetensors").is_file());
    let again =
        refused(dir.path(), &["train", "small/generated", "--data", "embedded", "--to", "student"]);
    assert!(again.contains("student/network.safetensors"), "{again}");

    let decoded = succeeds(
        dir.path(),
        &["decode", "student", "--data", "embedded", "--to", "a.txt", "--beam", "2"],
    );
    assert!(decoded.starts_with("BLEU "), "{decoded}");
    succeeds(
        dir.path(),
        &["materialise", "small/generated", "--data", "embedded", "--to", "again"],
    );
    succeeds(
        dir.path(),
        &["decode", "again", "--data", "embedded", "--to", "b.txt", "--beam", "2"],
    );
    let read = |name: &str| std::fs::read_to_string(at(name)).expect("translations");
    assert_eq!(read("a.txt"), read("b.txt"));

    let score = succeeds(dir.path(), &["score", "a.txt", "a.txt"]);
    assert!(score.starts_with("BLEU = 100.00"), "{score}");

    let mut child = command(dir.path(), &["translate", "student", "--data", "embedded"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all("the dog\n\nthe cat sees\r\nlast".as_bytes())
        .expect("a write");
    let output = child.wait_with_output().expect("an end");
    let (lines, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let lines: Vec<&str> = lines.split_terminator('\n').collect();
    assert_eq!((lines.len(), lines[1]), (4, ""), "a line for each line");
    assert!(said.contains("1 empty line"), "{said}");
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
        (&["score", "one.txt", "two.txt"], &["two.txt: expected 1 lines as in one.txt, got 2"]),
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
