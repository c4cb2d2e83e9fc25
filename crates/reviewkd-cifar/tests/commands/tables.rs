//! The binary as a user runs it, on generated images: repeats, threads, import and export, and bad
//! input.

use std::path::Path;
use std::process::Command;

use crate::start::{self, binary, experiments, output, refused};

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = binary(dir, arguments);
    command.arg("--experiments").arg(experiments("experiments"));
    command
}

fn succeeds(dir: &Path, arguments: &[&str]) -> String {
    start::succeeds(command(dir, arguments)).0
}

/// The table without its timing column.
fn table(dir: &Path) -> String {
    let path = dir.join("results/reviewkd-cifar/embedded-quick/small.csv");
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

/// Exports the network of the tests' one row.
const EXPORT: [&str; 6] =
    ["export", "small/resnet8", "--to", "out.safetensors", "--data", "embedded"];

#[test]
fn threads_do_not_change_the_table_and_the_precision_of_convolutions_names_another_cell() {
    let (one, three) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    succeeds(one.path(), &["--data", "embedded", "--threads", "1"]);
    succeeds(three.path(), &["--data", "embedded", "--threads", "3"]);
    assert_eq!(table(one.path()), table(three.path()));
    let pending = succeeds(one.path(), &["list", "--data", "embedded", "--conv", "precise"]);
    assert!(pending.contains("1 cell, 0 done"), "{pending}");
}

#[test]
fn an_exported_network_is_imported_again_and_agrees_with_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    succeeds(dir.path(), &["--data", "embedded"]);
    succeeds(dir.path(), &EXPORT);
    let again = output(command(dir.path(), &EXPORT));
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    let import = [
        "import",
        "out.safetensors",
        "--arch",
        "resnet8",
        "--classes",
        "20",
        "--to",
        "in.safetensors",
        "--data",
        "embedded",
    ];
    assert!(succeeds(dir.path(), &import).contains("resnet8"), "the network's name");
    let compared =
        succeeds(dir.path(), &["compare", "small/resnet8", "in.safetensors", "--data", "embedded"]);
    assert!(compared.contains("same class for 100.00 %"), "{compared}");
}

#[test]
fn a_checkpoint_of_pytorch_is_imported_and_one_of_another_network_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_owned();
    std::fs::write(at("broken.pth"), b"PK\x03\x04 and no more").expect("a file");
    std::fs::write(at("text.pth"), "not a checkpoint").expect("a file");
    succeeds(dir.path(), &["--data", "embedded"]);
    succeeds(dir.path(), &EXPORT);
    let (broken, text) = (at("broken.pth"), at("text.pth"));
    let cases: [(&[&str], &str); 10] = [
        (&["import", &broken, "--arch", "resnet8"], "broken.pth"),
        (&["import", &text, "--arch", "resnet8"], "text.pth: expected a PyTorch checkpoint"),
        (&["compare", &broken, "small/resnet8"], "has to be imported first"),
        (
            &[
                "import",
                "out.safetensors",
                "--arch",
                "resnet8",
                "--classes",
                "20",
                "--prefix",
                "student.",
                "--to",
                "x.safetensors",
            ],
            "expected names behind student., got bn1.bias",
        ),
        (&["import", "gone.pth", "--arch", "resnet8"], "gone.pth"),
        (&["import", "out.safetensors", "--arch", "resnet9", "--to", "x.safetensors"], "resnet8"),
        (
            &[
                "import",
                "out.safetensors",
                "--arch",
                "resnet20",
                "--classes",
                "20",
                "--to",
                "x.safetensors",
            ],
            "missing layer1.1.bn1.bias",
        ),
        (
            &["import", "out.safetensors", "--arch", "resnet8", "--to", "x.safetensors"],
            "fc.bias: expected [100], got [20]",
        ),
        (&["--conv", "rough"], "precise, fast"),
        (&["--data", "cifar100"], "HF_HUB_OFFLINE"),
    ];
    for (arguments, expected) in cases {
        let said = refused(command(dir.path(), arguments));
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert!(!dir.path().join("x.safetensors").exists(), "a refused import leaves nothing");
}
