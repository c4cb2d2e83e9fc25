//! `sweep` as a user runs it, on embedded data: a grid, rungs, kills, bad input, and that no cell of
//! it looks at the test images.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Three temperatures and two weights of the row `student` of `tests/experiments/small.toml`.
const GRID: [&str; 10] = [
    "sweep",
    "small/student",
    "--over",
    "method.temperature=1,4,16",
    "--over",
    "method.hard-weight=0.1,1",
    "--held-out",
    "0.1",
    "--seeds",
    "1",
];

fn binary(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hinton-mnist"));
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments");
    command.args(arguments).args(["--data", "embedded", "--experiments"]).arg(experiments);
    // A machine without a network and with an empty cache, whatever the one that runs the test has.
    command.current_dir(dir).env("HF_HOME", dir.join("hf")).env("HF_HUB_OFFLINE", "1");
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    binary(dir, arguments).output().expect("the binary starts")
}

fn printed(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sweeps(dir: &Path) -> PathBuf {
    dir.join("results/hinton-mnist/embedded-quick/sweeps")
}

const NAME: &str = "small-student-over-temperature-hard-weight";

/// The sweep's table without the column of seconds.
fn table(dir: &Path) -> Vec<Vec<String>> {
    let path = sweeps(dir).join(format!("{NAME}.csv"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut rows: Vec<Vec<String>> =
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    let seconds = rows[0].iter().position(|column| column == "seconds").expect("a column");
    rows.iter_mut().for_each(|row| drop(row.remove(seconds)));
    rows
}

#[test]
fn a_grid_is_measured_on_held_out_images_alone_and_the_best_row_can_be_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = printed(dir.path(), &GRID);
    let rows = table(dir.path());
    assert_eq!(rows[0][..4], ["row", "temperature", "hard-weight", "metric"]);
    assert_eq!(rows.len(), 1 + 6);
    let column = |name: &str| rows[0].iter().position(|column| column == name).expect("a column");
    let accuracy = |row: &Vec<String>| row[column("mean")].parse::<f64>().expect("a number");
    // A sensible student of generated digits; the held-out images are a tenth of 10,000.
    assert!(rows[1..].iter().all(|row| accuracy(row) > 60. && accuracy(row) <= 100.), "{rows:?}");
    assert!(text.contains("of 1000 held-out images, 1 seed"), "{text}");
    let best = rows[1..].iter().map(accuracy).fold(0., f64::max);
    let named = rows[1..].iter().find(|row| accuracy(row) == best).expect("a row");
    let settings = format!("temperature={} hard-weight={}", named[1], named[2]);
    assert!(text.contains(&format!("best of 6 points: {settings}, {best:.2} %")), "{text}");
    let svg = std::fs::read_to_string(sweeps(dir.path()).join(format!("{NAME}.svg")));
    assert!(svg.expect("a picture").contains(&format!("{best:.2}")));

    // No cell of the sweep was measured on the test images, the teacher's included, nor did it leave
    // what it says of them.
    let mut cells = 0;
    for cell in std::fs::read_dir(dir.path().join("runs/hinton-mnist")).expect("the runs") {
        let cell = cell.expect("a cell").path();
        let result = std::fs::read_to_string(cell.join("result.json")).expect("a result");
        assert!(!result.contains("test") && result.contains("validation-accuracy"), "{result}");
        let logits = std::fs::read(cell.join("logits.safetensors")).expect("logits");
        let header = String::from_utf8_lossy(&logits[8..300]).into_owned();
        assert!(header.contains("\"train\"") && !header.contains("\"test\""), "{header}");
        cells += 1;
    }
    assert_eq!(cells, 1 + 6);

    // The row that is printed, put into the file, is a row of it.
    let (_, row) = text.split_once("below row student:\n\n").expect("a row");
    let experiments = dir.path().join("own/hinton-mnist");
    std::fs::create_dir_all(&experiments).expect("a folder");
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments/small.toml");
    let small = std::fs::read_to_string(small).expect("the file");
    std::fs::write(experiments.join("small.toml"), format!("{small}\n{row}")).expect("a file");
    let mut list = Command::new(env!("CARGO_BIN_EXE_hinton-mnist"));
    list.args(["list", "--data", "embedded", "--experiments", "own"]).current_dir(dir.path());
    let listed = list.output().expect("the binary starts");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("small/student-swept"), "{listed}");
}

#[test]
fn killed_in_the_middle_of_its_rungs_and_started_again_it_ends_with_the_same_table() {
    let (whole, killed) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    // By the estimates the teacher takes 0.08 s and the grid 0.17 s.
    let arguments = [&GRID[..], &["--budget", "0.15s"]].concat();
    let expected = printed(whole.path(), &arguments);
    for rung in
        ["rung 1: 6 points, 3 epochs", "rung 2: 2 points, 10 epochs", "rung 3: 1 point, 30 epochs"]
    {
        assert!(expected.contains(rung), "{rung}: {expected}");
    }
    let found = table(whole.path());
    assert_eq!(found[0][3], "rung");
    let rungs: Vec<&str> = found[1..].iter().map(|row| row[3].as_str()).collect();
    assert_eq!(rungs, ["1", "1", "1", "1", "1", "1", "2", "2", "3"]);

    let arguments = [&arguments[..], &["--save-every", "0"]].concat();
    let mut kills = 0;
    loop {
        let mut child = binary(killed.path(), &arguments).spawn().expect("the binary starts");
        // Later and later, so that a slow machine gets there too.
        std::thread::sleep(Duration::from_millis(300 + 40 * kills));
        match child.try_wait().expect("a status") {
            Some(status) => {
                assert!(status.success(), "{status}");
                break;
            }
            None => {
                child.kill().expect("a kill");
                child.wait().expect("its end");
                kills += 1;
            }
        }
        assert!(kills < 500, "no progress between the kills");
    }
    assert!(kills >= 3, "only {kills} kills: the sweep is too short to be interrupted");
    assert_eq!(table(killed.path()), found);
    let svg =
        |dir: &Path| std::fs::read(sweeps(dir).join(format!("{NAME}.svg"))).expect("a picture");
    assert_eq!(svg(killed.path()), svg(whole.path()));
}

#[test]
fn bad_input_is_one_line_that_says_what_and_where_with_exit_code_2() {
    let dir = tempfile::tempdir().expect("a folder");
    let sweep = |row: &str, over: &[&str], held_out: &str| -> Vec<String> {
        let mut all = vec!["sweep".to_owned(), row.to_owned()];
        all.extend(over.iter().flat_map(|axis| ["--over".to_owned(), axis.to_string()]));
        all.extend(["--held-out".to_owned(), held_out.to_owned()]);
        all
    };
    let student = "small/student";
    let cases = [
        (sweep("small/studnet", &["train.epochs=1"], "0.1"), "did you mean `student`?"),
        (
            sweep("small/bias", &["step=1"], "0.1"),
            "cells of kind bias of hinton-mnist cannot hold out",
        ),
        (
            sweep(student, &["method.temprature=1"], "0.1"),
            "--over method.temprature: `method.temprature` is not in the row's spec; did you mean `temperature`?",
        ),
        (
            sweep(student, &["method.temperature=hot"], "0.1"),
            "--over method.temperature: expected a number like the row's 4, got string `\"hot\"`",
        ),
        // Of the right kind, and no number that the method takes.
        (
            sweep(student, &["method.temperature=0"], "0.1"),
            "expected a temperature from 0.001 to 1,000,000, got 0",
        ),
        (sweep(student, &["train.batch-size=1.5"], "0.1"), "invalid type: floating point `1.5`"),
        (
            sweep(student, &["method.temperature="], "0.1"),
            "expected values with commas between them",
        ),
        (
            sweep(student, &["train.epochs=1", "train.epochs=2"], "0.1"),
            "the setting is given twice",
        ),
        (sweep(student, &["train.epochs=1"], "0"), "expected a share above 0 and below 1"),
        (sweep(student, &["train.epochs=1"], "1"), "expected a share above 0 and below 1"),
        (
            sweep(student, &["train.epochs=1"], "0.00001"),
            "validation.share: expected a share that leaves images on both sides",
        ),
        (
            [sweep(student, &["train.epochs=1"], "0.1"), vec!["--budget".into(), "soon".into()]]
                .concat(),
            "expected a duration",
        ),
    ];
    for (arguments, part) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(dir.path(), &arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        let errors: Vec<&str> = text.lines().filter(|l| l.starts_with("error")).collect();
        assert!(
            errors.len() == 1 && text.contains(part),
            "{arguments:?}: expected {part:?} in\n{text}"
        );
    }
    assert!(!sweeps(dir.path()).exists());
}
