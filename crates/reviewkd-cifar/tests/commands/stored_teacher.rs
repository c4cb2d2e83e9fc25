//! `--store-teacher` as a user runs it, on generated images.

use std::path::Path;

use crate::start::{self, experiments, networks, on_generated, output, refused};

fn succeeds(dir: &Path, experiments: &Path, arguments: &[&str]) {
    start::succeeds(on_generated(dir, experiments, arguments));
}

/// The tests' table of methods, without the rows from `end` on.
fn methods(dir: &Path, end: &str) -> std::path::PathBuf {
    let table = experiments("distillation").join("methods.toml");
    let text = std::fs::read_to_string(table).expect("the table");
    let kept = text.find(end).map_or(&*text, |place| &text[..place]);
    let folder = dir.join("experiments");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("methods.toml"), kept).expect("written");
    folder
}

fn folders(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.is_dir());
    paths.sort();
    paths
}

/// Where the first row of another method begins.
const CONTRAST: &str = "# A memory, and adapters of both networks.";

#[test]
fn all_views_stored_give_the_networks_of_live_teachers() {
    let dir = tempfile::tempdir().expect("a folder");
    let [live, stored] = ["live", "stored"].map(|name| {
        std::fs::create_dir(dir.path().join(name)).expect("a folder");
        dir.path().join(name)
    });
    let experiments = methods(dir.path(), "# Statistics over the training set");
    succeeds(&live, &experiments, &[]);
    succeeds(&stored, &experiments, &["--store-teacher", "all"]);
    assert!(networks(&live).len() == 4 && networks(&live) == networks(&stored));
    assert!(folders(&live.join("runs/teacher-outputs")).is_empty());
    // With running statistics, and with those of each batch.
    let stores = folders(&stored.join("runs/teacher-outputs"));
    assert_eq!(stores.len(), 2);
    let views: Vec<_> = stores.iter().map(|store| folders(store).len()).collect();
    assert_eq!(views, [3, 3], "one for each epoch");
}

#[test]
fn fewer_views_than_epochs_make_other_cells_and_that_many_folders() {
    let dir = tempfile::tempdir().expect("a folder");
    let experiments = methods(dir.path(), CONTRAST);
    succeeds(dir.path(), &experiments, &["--store-teacher", "all"]);
    succeeds(dir.path(), &experiments, &["--store-teacher", "2"]);
    // The teacher is the same, the student another.
    let cells = networks(dir.path());
    assert_eq!(cells.len(), 3);
    let views: Vec<_> = folders(&dir.path().join("runs/teacher-outputs"))
        .iter()
        .map(|s| folders(s).len())
        .collect();
    assert!(views == [2, 3] || views == [3, 2], "{views:?}");
    // As many views as epochs are no limit.
    succeeds(dir.path(), &experiments, &["--store-teacher", "6"]);
    assert!(cells == networks(dir.path()));
}

#[test]
fn what_cannot_be_stored_is_refused_before_anything_is_trained() {
    let dir = tempfile::tempdir().expect("a folder");
    let (dir, experiments) = (dir.path(), methods(dir.path(), "no such row"));
    for (arguments, part) in [
        (&["--store-teacher", "0"][..], "--store-teacher <VIEWS>': expected all, or 1 or more"),
        (&["--store-teacher", "all", "--store-limit=-1"], "--store-limit"),
        (&["--store-limit", "1"], "--store-teacher"),
        (
            &["--store-teacher", "2"],
            "--store-teacher: methods/review: expected all or at least its 3 epochs, since its teacher normalises with the statistics of each batch, got 2",
        ),
    ] {
        let message = refused(on_generated(dir, &experiments, arguments));
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
    // A row that states its views itself.
    let table = experiments.join("methods.toml");
    let text = std::fs::read_to_string(&table).expect("the table");
    let batch = "teacher-statistics = \"batch\"";
    assert!(text.contains(batch));
    std::fs::write(&table, text.replacen(batch, &format!("{batch}\nexamples.views = 1"), 1))
        .expect("written");
    let message = refused(on_generated(dir, &experiments, &["--store-teacher", "all"]));
    assert!(message.contains("methods/review: expected all or at least its 3"), "{message}");
    assert!(message.contains("got 1"), "{message}");
    start::succeeds(on_generated(dir, &experiments, &["list"]));
    assert!(folders(&dir.join("runs/reviewkd-cifar")).is_empty());
}

#[test]
fn the_first_view_shows_that_all_do_not_fit() {
    let dir = tempfile::tempdir().expect("a folder");
    let experiments = methods(dir.path(), CONTRAST);
    let arguments = ["--store-teacher", "2", "--store-limit", "0.0001"];
    let output = output(on_generated(dir.path(), &experiments, &arguments));
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    let last = message.lines().last().unwrap_or_default();
    assert!(last.contains("stored teacher outputs: 2 views of 96 images take"), "{message}");
    assert!(last.contains("the limit is 104.9 KiB; raise it, or take fewer views"), "{message}");
}
