//! Starts the binary, and says what it said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of experiment files of the tests.
pub fn experiments(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The binary in this folder, on a machine without a network and with an empty cache, whatever the
/// one that runs the test has.
pub fn binary(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reviewkd-cifar"));
    command.args(arguments).current_dir(dir);
    command.env("HF_HOME", dir.join("hf")).env("HF_HUB_OFFLINE", "1");
    command
}

/// The binary with the experiment files of a folder, on generated images.
pub fn on_generated(dir: &Path, experiments: &Path, arguments: &[&str]) -> Command {
    let mut command = binary(dir, arguments);
    command.args(["--data", "embedded"]).arg("--experiments").arg(experiments);
    command
}

/// What a command gave.
pub fn output(mut command: Command) -> Output {
    command.output().expect("the binary starts")
}

/// What a command says that has to succeed: standard output and standard error.
pub fn succeeds(command: Command) -> (String, String) {
    let asked = format!("{command:?}");
    let output = output(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{asked}: {said}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), said)
}

/// The one line of a command that is refused.
pub fn refused(command: Command) -> String {
    let asked = format!("{command:?}");
    let output = output(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{asked}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{asked}: {said}");
    said
}

/// The bytes of every cell's network, in the run store of this folder.
pub fn networks(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let cells = std::fs::read_dir(dir.join("runs/reviewkd-cifar")).expect("the runs");
    cells
        .map(|cell| {
            let cell = cell.expect("a cell").path();
            let network = std::fs::read(cell.join("network.safetensors")).expect("a network");
            (cell.file_name().expect("a name").to_string_lossy().into_owned(), network)
        })
        .collect()
}
