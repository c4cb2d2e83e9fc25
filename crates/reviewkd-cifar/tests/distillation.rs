//! Distillation as a user runs it, on generated images: kills in every phase, threads, precisions
//! side by side, and what does not fit a pair.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/distillation")
}

fn binary(experiments: &Path, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reviewkd-cifar"));
    command
        .args(arguments)
        .args(["--data", "embedded"])
        .arg("--experiments")
        .arg(experiments)
        .current_dir(dir);
    // A machine without a network and with an empty cache, whatever the one that runs the test has.
    command.env("HF_HOME", dir.join("hf")).env("HF_HUB_OFFLINE", "1");
    command
}

fn succeeds(dir: &Path, arguments: &[&str]) {
    let output = binary(&folder(), dir, arguments).output().expect("the binary starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The bytes of every cell's network.
fn networks(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let cells = std::fs::read_dir(dir.join("runs/reviewkd-cifar"))
        .expect("the runs")
        .map(|cell| cell.expect("a cell").path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    cells
        .map(|cell| {
            (name(&cell), std::fs::read(cell.join("network.safetensors")).expect("a network"))
        })
        .collect()
}

/// When a cell that trains was last saved.
fn last_save(dir: &Path) -> Option<SystemTime> {
    let cells = std::fs::read_dir(dir.join("runs/reviewkd-cifar")).ok()?;
    let state = |cell: std::io::Result<std::fs::DirEntry>| {
        std::fs::metadata(cell.ok()?.path().join("state.safetensors")).ok()?.modified().ok()
    };
    cells.filter_map(state).max()
}

#[test]
fn killed_in_any_phase_and_started_again_every_method_ends_with_the_network_of_an_uninterrupted_run()
 {
    let (whole, killed) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    succeeds(whole.path(), &["--threads", "1"]);
    let mut kills = 0;
    loop {
        let mut command =
            binary(&folder(), killed.path(), &["--threads", "3", "--save-every", "0"]);
        let mut child = command
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the binary starts");
        // Killed once it has saved its state once or twice, however fast the machine is.
        let (mut saved, mut saves) = (last_save(killed.path()), 0);
        let status = loop {
            if let Some(status) = child.try_wait().expect("a status") {
                break Some(status);
            }
            let now = last_save(killed.path());
            saves += usize::from(now > saved);
            saved = now;
            if saves > kills % 2 {
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
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
    let (expected, found) = (networks(whole.path()), networks(killed.path()));
    assert_eq!(expected.len(), 7);
    assert!(
        expected == found,
        "networks differ: {:?}",
        expected
            .iter()
            .filter(|(name, bytes)| found.get(*name) != Some(*bytes))
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    );
}

#[test]
fn cells_of_another_precision_in_the_same_process_do_not_change_a_cell() {
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/precision");
    let trained = |arguments: &[&str]| {
        let dir = tempfile::tempdir().expect("a folder");
        let output = binary(&experiments, dir.path(), arguments).output();
        let output = output.expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        networks(dir.path())
    };
    // Precise, fast, precise: after one another in one process, and each in a process of its own.
    let together = trained(&[]);
    let alone: BTreeMap<_, _> =
        ["1/3", "2/3", "3/3"].into_iter().flat_map(|shard| trained(&["--shard", shard])).collect();
    assert_eq!(together.len(), 3);
    assert!(together == alone, "a network depends on the cells before it");
}

/// What `list` says where a row of the tests' table is changed.
fn refusal(from: &str, to: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let experiments = dir.path().join("experiments");
    std::fs::create_dir(&experiments).expect("a folder");
    let text = std::fs::read_to_string(folder().join("methods.toml")).expect("the table");
    assert!(text.contains(from), "{from}");
    std::fs::write(experiments.join("methods.toml"), text.replacen(from, to, 1)).expect("a file");
    let output = binary(&experiments, dir.path(), &["list"]).output().expect("the binary starts");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), message.lines().count()), (Some(2), 1), "{message}");
    message
}

#[test]
fn what_does_not_fit_a_pair_is_refused_in_one_line_before_anything_is_trained() {
    let crd = "method = { kind = \"crd\", weight = 0.8, width = 16, temperature = 0.07, negatives = 20, momentum = 0.5, hard-weight = 1.0 }";
    let with = |method: &str| format!("{method}\nnetwork = \"mobilenet-v2\"");
    let cases = [
        (with("method = { kind = \"fsp\", weight = 1.0, hard-weight = 0.0 }"), "fsp"),
        (
            with(
                "method = { kind = \"ofd\", weight = 0.001, stage-decay = 0.5, hard-weight = 1.0 }",
            ),
            "ofd",
        ),
        (
            "method = { kind = \"fitnet\", stage = 4, weight = 1.0, hard-weight = 1.0 }".to_owned(),
            "method.stage: expected 1 to 3",
        ),
        (crd.replace("negatives = 20", "negatives = 16384"), "method.negatives"),
        (crd.replace("crd", "crdd"), "did you mean `crd`?"),
        (crd.replace("negatives", "negativs"), "did you mean `negatives`?"),
        (
            format!("{crd}\nexamples = {{ normalisation = \"crd\" }}"),
            "examples.normalisation: expected the teacher's embedded",
        ),
    ];
    for (method, part) in cases {
        let message = refusal(crd, &method);
        assert!(message.contains(part), "{part}: {message}");
    }
    let message = refusal(
        "name = \"contrast\"\nlike = \"teacher\"\nneeds = { teacher = \"teacher\" }",
        "name = \"contrast\"\nlike = \"teacher\"",
    );
    assert!(message.contains("needs.teacher: expected one cell"), "{message}");
}
