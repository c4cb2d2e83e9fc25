//! Distillation as a user runs it, on generated images: kills in every phase, threads, precisions
//! side by side, and what does not fit a pair.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::start::{experiments, networks, on_generated, refused, succeeds};

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
    let methods = experiments("distillation");
    succeeds(on_generated(whole.path(), &methods, &["--threads", "1"]));
    let mut kills = 0;
    loop {
        let arguments = ["--threads", "3", "--save-every", "0"];
        let mut command = on_generated(killed.path(), &methods, &arguments);
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
    let trained = |arguments: &[&str]| {
        let dir = tempfile::tempdir().expect("a folder");
        succeeds(on_generated(dir.path(), &experiments("precision"), arguments));
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
    let changed = dir.path().join("experiments");
    std::fs::create_dir(&changed).expect("a folder");
    let table = experiments("distillation").join("methods.toml");
    let text = std::fs::read_to_string(table).expect("the table");
    assert!(text.contains(from), "{from}");
    std::fs::write(changed.join("methods.toml"), text.replacen(from, to, 1)).expect("a file");
    refused(on_generated(dir.path(), &changed, &["list"]))
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
