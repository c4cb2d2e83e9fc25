//! The binary as a user runs it, on the generated language pair.

mod refusals;
mod training;
mod translate;

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const RUN: [&str; 4] = ["run", "small", "--data", "embedded"];

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
