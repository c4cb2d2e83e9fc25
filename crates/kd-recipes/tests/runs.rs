//! The binary as a user runs it, on embedded data: repeats, kills, threads, shards and bad input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

const PAPER: &str = "kd-recipes";

fn binary_with(experiments: &Path, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kd-recipes"));
    command.args(arguments).arg("--experiments").arg(experiments).current_dir(dir);
    // A machine without a network and with an empty cache, whatever the one that runs the test has.
    command.env("HF_HOME", dir.join("hf")).env("HF_HUB_OFFLINE", "1");
    command
}

fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments")
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    binary_with(&experiments(), dir, arguments).output().expect("the binary starts")
}

/// A table without its timing column.
fn table(dir: &Path, name: &str) -> String {
    let path = dir.join("results").join(PAPER).join("embedded-quick").join(format!("{name}.csv"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let header = text.lines().next().expect("a header");
    let seconds = header.split(',').position(|c| c == "seconds").expect("a column seconds");
    let without = |line: &str| {
        let kept = line.split(',').enumerate().filter(|(i, _)| *i != seconds).map(|(_, c)| c);
        kept.collect::<Vec<_>>().join(",")
    };
    text.lines().map(without).collect::<Vec<_>>().join("\n")
}

/// The mean of a row's metric.
fn number(table: &str, row: &str, metric: &str) -> f64 {
    let header: Vec<&str> = table.lines().next().expect("a header").split(',').collect();
    let at = |name: &str| header.iter().position(|c| *c == name).expect("a column");
    let line = table
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .find(|line| line[at("row")] == row && line[at("metric")] == metric)
        .unwrap_or_else(|| panic!("no {metric} of {row} in\n{table}"));
    line[at("mean")].parse().expect("a number")
}

fn finished(dir: &Path, arguments: &[&str]) {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const SMALL: [&str; 4] = ["run", "small", "--data", "embedded"];

/// The files of the runs, each with its length and the time of its last change.
fn files(dir: &Path) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
    // A file may go away while it is looked at.
    let entries = |dir: &Path| {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>()
    };
    let about = |path: PathBuf| {
        let found = std::fs::metadata(&path).ok()?;
        Some((path, (found.len(), found.modified().ok())))
    };
    let cells = entries(&dir.join("runs").join(PAPER));
    cells.iter().flat_map(|cell| entries(cell)).filter_map(about).collect()
}

#[test]
fn killed_many_times_and_started_again_it_ends_with_the_table_of_an_uninterrupted_run() {
    let (whole, interrupted) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    finished(whole.path(), &[&SMALL[..], &["--seeds", "1"]].concat());
    let arguments = [&SMALL[..], &["--seeds", "1", "--save-every", "0"]].concat();
    let mut kills = 0;
    // After so many changes of its files, whatever the speed of the machine: in the middle of an
    // epoch, of a state, of a result.
    for changes in [3, 17, 7, 29, 11, 19, 5].into_iter().cycle() {
        let mut child = binary_with(&experiments(), interrupted.path(), &arguments)
            .spawn()
            .expect("the binary starts");
        let (mut known, mut seen) = (files(interrupted.path()), 0);
        let status = loop {
            let now = files(interrupted.path());
            seen += usize::from(now != known);
            known = now;
            match child.try_wait().expect("a status") {
                Some(status) => break Some(status),
                None if seen >= changes => break None,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        if let Some(status) = status {
            assert!(status.success(), "{status}");
            break;
        }
        child.kill().expect("a kill");
        child.wait().expect("its end");
        kills += 1;
        assert!(kills < 500, "no progress between the kills");
    }
    assert!(kills >= 3, "only {kills} kills: the run is too short to be interrupted");
    assert_eq!(table(interrupted.path(), "small"), table(whole.path(), "small"));
    let litter: Vec<PathBuf> = std::fs::read_dir(interrupted.path().join("runs").join(PAPER))
        .expect("the runs")
        .flat_map(|cell| std::fs::read_dir(cell.expect("a cell").path()).expect("its files"))
        .map(|file| file.expect("a file").path())
        .filter(|path| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            name.is_some_and(|n| {
                n.starts_with('.') || n == "state.safetensors" || n == "projection.safetensors"
            })
        })
        .collect();
    assert!(litter.is_empty(), "{litter:?}");
}

#[test]
fn threads_and_shards_give_the_same_table_and_a_second_run_computes_nothing() {
    let (one, three) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    finished(one.path(), &["--data", "embedded", "--threads", "1"]);
    for shard in ["1/2", "2/2"] {
        finished(three.path(), &["--data", "embedded", "--threads", "3", "--shard", shard]);
    }
    // A shard that waits for another's cells leaves its own for the next time.
    finished(three.path(), &["--data", "embedded", "--threads", "3"]);
    for name in ["small", "fact-augmentation-superclass"] {
        assert_eq!(table(one.path(), name), table(three.path(), name), "{name}");
    }
    let again = run(one.path(), &["--data", "embedded"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success() && !said.contains("epoch"), "{said}");

    // What was trained is what it should be.
    let small = table(one.path(), "small");
    let of = |row, metric| number(&small, row, metric);
    assert_eq!(
        of("copy", "start-accuracy"),
        of("teacher", "test-accuracy"),
        "a copy is its teacher"
    );
    // The teacher's logits have no gradient where the student is the teacher.
    assert_eq!(of("copy", "test-accuracy"), of("teacher", "test-accuracy"));
    assert!(of("plain", "start-accuracy") < 40. && of("plain", "test-accuracy") > 60., "{small}");
    assert!(of("projection", "start-accuracy") > 60., "{small}");
    let facts = table(one.path(), "fact-augmentation-superclass");
    let errors = |row| number(&facts, row, "test-errors");
    assert!(errors("facts") < errors("shuffled"), "{facts}");
}

#[test]
fn compare_reads_finished_cells_and_prints_both_networks() {
    let dir = tempfile::tempdir().expect("a folder");
    let experiments = dir.path().join("experiments");
    std::fs::create_dir(&experiments).expect("a folder");
    let text = small().replace("pool = 2", "pool = 1");
    let text = text.split("[[row]]\nname = \"copy\"").next().expect("a part");
    std::fs::write(experiments.join("small.toml"), text).expect("a file");
    let of = |arguments: &[&str]| {
        binary_with(&experiments, dir.path(), arguments).output().expect("the binary starts")
    };
    let output = of(&SMALL);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = of(&["compare", "small/teacher#1", "small/plain#2", "--data", "embedded"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in ["test errors", "errors on 9", "calibration error", "same class"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn bad_input_is_one_line_that_says_what_and_where_with_exit_code_2() {
    let dir = tempfile::tempdir().expect("a folder");
    let empty = dir.path().join("empty").to_str().expect("a path").to_owned();
    std::fs::create_dir(&empty).expect("a folder");
    let cases: [(&[&str], &str); 7] = [
        (&["run", "smal", "--data", "embedded"], "did you mean `small`?"),
        (&["run", "small", "--data", "cifar100", "--data-dir", &empty], "empty"),
        (&["--preset", "huge"], "huge"),
        (&["--data", "mnist"], "HF_HUB_OFFLINE"),
        (&["--data-dir", &empty], "--data-dir: expected --data mnist or cifar100 beside it"),
        (&["compare", "small/teacher", "small/nobody", "--data", "embedded"], "not finished"),
        (&["compare", "small/teacher", "small/plain", "--data", "cifar100"], "got cifar100"),
    ];
    for (arguments, part) in cases {
        let output = run(dir.path(), arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        let errors = text.lines().filter(|l| l.starts_with("error")).count();
        assert!(errors == 1 && text.contains(part), "{arguments:?}: expected {part:?} in\n{text}");
    }
}

/// What `tests/experiments/small.toml` says.
fn small() -> String {
    std::fs::read_to_string(experiments().join("small.toml")).expect("a file")
}

/// What the binary says as it refuses, in one line and with exit code 2, to run an experiment file
/// of this text.
fn refused(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let experiments = dir.path().join("experiments");
    std::fs::create_dir(&experiments).expect("a folder");
    std::fs::write(experiments.join("small.toml"), text).expect("a file");
    let output = binary_with(&experiments, dir.path(), &SMALL).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("done "), "something was trained\n{said}");
    let errors: Vec<&str> = said.lines().filter(|l| l.starts_with("error")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].to_owned()
}

#[test]
fn a_recipe_that_cannot_run_is_refused_before_anything_is_trained() {
    let good = small();
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let needs = "needs = { teacher = \"teacher\", plain = \"plain\" }";
    let copy = "migration = { way = \"copy\", begin = true, penalty = 0.0 }";
    let cases = [
        (changed("held-out", "held-uot"), "did you mean `held-out`?"),
        (
            changed(needs, "needs = { plain = \"plain\" }"),
            "needs.teacher: expected one cell of kind train, got 0",
        ),
        (changed("pool = 2", "pool = 3"), "examples.pool: expected a divisor of 28 and 28, got 3"),
        (
            changed("held-out = 200", "held-out = 10000"),
            "examples.held-out: expected less than the 10000 images, got 10000",
        ),
        (changed("held-out = 200", "held-out = 0"), "curve: expected examples.held-out above 0"),
        (
            changed("epoch-images = 1200", "epoch-images = 900000000"),
            "examples.epoch-images: expected 0 to 100000000",
        ),
        (
            changed("imitation = 0.5", "imitation = 1.5"),
            "imitation: expected a weight in [0, 1] and method soft-targets, got 1.5",
        ),
        (
            changed("imitation = 0.5", "soften-teacher = 0.0"),
            "expected a temperature from 0.001 to 1,000,000, got 0",
        ),
        (
            changed("penalty = 0.001", "penalty = -1.0"),
            "penalty: expected a finite number of at least 0, got -1",
        ),
        (
            changed(copy, "migration = { way = \"copy\", begin = false, penalty = 0.0 }"),
            "expected begin = true or a penalty above 0",
        ),
        (
            changed(copy, "migration = { way = \"projection\", begin = true, penalty = 0.0 }"),
            "migration.projection: expected one, got none",
        ),
        (
            changed("way = \"projection\"", "way = \"average\""),
            "migration.projection: expected none",
        ),
        (
            changed("network = { hidden = [40, 30] }", "network = { hidden = [40, 29] }"),
            "copy: expected the teacher's hidden layers [40, 30], got [40, 29]",
        ),
        (
            changed("hidden = [20, 15]", "hidden = [20, 31]"),
            "hidden layers at least as wide as those of 1-[20, 31]-2",
        ),
        (
            changed("source = \"measurements\"", "source = \"superclass\""),
            "facts: superclass: expected a data set whose classes have groups",
        ),
        (
            changed("source = \"measurements\"", "source = \"measurement\""),
            "did you mean `measurements`?",
        ),
        (
            changed(
                "examples = { pool = 4 }\nimitation",
                "migration = { way = \"copy\", begin = true, penalty = 0.0 }\nimitation",
            ),
            "a teacher without facts that sees images as the student does",
        ),
    ];
    for (text, part) in cases {
        let said = refused(&text);
        assert!(said.contains(part), "expected {part:?} in\n{said}");
    }
}
