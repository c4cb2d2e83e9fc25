//! `sweep` as a user runs it, on generated images: no cell of it looks at the test images, whatever
//! its method remembers and wherever its teacher is from.

use std::path::{Path, PathBuf};

use crate::start::{self, binary, experiments, on_generated, refused};

fn succeeds(dir: &Path, arguments: &[&str]) -> (String, String) {
    start::succeeds(on_generated(dir, &experiments("distillation"), arguments))
}

fn cells(dir: &Path) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(dir.join("runs/reviewkd-cifar")).expect("the runs");
    runs.map(|cell| cell.expect("a cell").path()).collect()
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A tenth of the 4,000 generated training images.
const IMAGES: &str = "\"validation-images\": 400";

#[test]
fn a_row_with_a_memory_and_its_teacher_are_measured_on_held_out_images_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let sweep =
        ["sweep", "methods/contrast", "--over", "method.weight=0.2,0.8", "--held-out", "0.1"];
    let (text, _) = succeeds(dir.path(), &sweep);
    assert!(text.contains("of 400 held-out images, 1 seed"), "{text}");
    let out = dir.path().join("results/reviewkd-cifar/embedded-quick/sweeps");
    let name = "methods-contrast-over-weight";
    assert_eq!(read(out.join(format!("{name}.csv"))).lines().count(), 1 + 2);
    assert!(read(out.join(format!("{name}.svg"))).contains("weight"));
    let cells = cells(dir.path());
    assert_eq!(cells.len(), 1 + 2);
    for cell in cells {
        let result = read(cell.join("result.json"));
        assert!(!result.contains("test") && result.contains("validation-accuracy"), "{result}");
        assert!(result.contains(IMAGES), "{result}");
        assert!(!read(cell.join("epochs.csv")).contains("test"));
    }
}

#[test]
fn a_teacher_that_was_trained_elsewhere_is_said_to_have_seen_the_held_out_images_perhaps() {
    let dir = tempfile::tempdir().expect("a folder");
    let one = ["sweep", "methods/teacher", "--over", "train.epochs=1", "--held-out", "0.1"];
    succeeds(dir.path(), &one);
    let network = cells(dir.path()).remove(0).join("network.safetensors");
    std::fs::copy(network, dir.path().join("t.safetensors")).expect("a copy");
    std::fs::remove_dir_all(dir.path().join("runs")).expect("removed");
    let sweep = [
        "sweep",
        "methods/review",
        "--over",
        "method.soft.temperature=2,4",
        "--held-out",
        "0.1",
        "--teacher",
        "resnet8=t.safetensors",
    ];
    let (_, said) = succeeds(dir.path(), &sweep);
    assert!(said.contains("may have been trained on the images that are held out"), "{said}");
    let results: Vec<String> =
        cells(dir.path()).into_iter().map(|cell| read(cell.join("result.json"))).collect();
    assert_eq!(results.len(), 1 + 2);
    assert!(results.iter().all(|result| !result.contains("test") && result.contains(IMAGES)));
}

#[test]
fn a_row_that_measures_the_time_of_a_step_has_nothing_to_hold_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = binary(
        dir.path(),
        &["sweep", "cost/resnet56-resnet20-kd", "--over", "steps=1,2", "--held-out", "0.1"],
    );
    command.arg("--experiments").arg(experiments("../../../experiments"));
    let said = refused(command);
    assert!(said.contains("cells of kind cost of reviewkd-cifar cannot hold out"), "{said}");
}
