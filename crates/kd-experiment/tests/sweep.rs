//! Sweeps of the toy paper: what is run, in which order, and what is said of it.

use std::path::{Path, PathBuf};

use kd_experiment::{Error, Preset, experiment_file};
use toy::{EXPERIMENTS, Notes, Toy, files, main, noting};

mod toy;

/// The runs and results folders of a test.
struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let path = |name: &str| self.0.path().join(name).to_str().expect("a path").to_owned();
        let own = ["--runs-dir".to_owned(), path("runs"), "--out".to_owned(), path("results")];
        more.iter().map(|text| text.to_string()).chain(own).collect()
    }

    /// Runs the toy with these arguments in these folders.
    fn run(&self, toy: &Toy, more: &[&str]) -> Result<String, Error> {
        let arguments = self.arguments(more);
        main(toy, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The CSV of the one sweep.
    fn csv(&self, preset: &str) -> String {
        std::fs::read_to_string(self.sweeps(preset).join(CSV)).expect("the table")
    }

    fn sweeps(&self, preset: &str) -> PathBuf {
        self.0.path().join(format!("results/toy/mnist-{preset}/sweeps"))
    }

    fn runs(&self) -> PathBuf {
        self.0.path().join("runs/toy")
    }

    fn toy(&self) -> Toy {
        Toy { log: Some(self.0.path().join("log")), ..Toy::default() }
    }

    /// How many cells were entered.
    fn entered(&self) -> usize {
        let log = std::fs::read_to_string(self.0.path().join("log")).unwrap_or_default();
        log.lines().count()
    }
}

const CSV: &str = "nets-student-over-temperature-rate.csv";

/// A grid of four temperatures and two rates; the best point is a temperature of 4 and a rate of
/// 0.5.
const GRID: [&str; 8] = [
    "sweep",
    "nets/student",
    "--over",
    "temperature=1,2,4,8",
    "--over",
    "rate=0.25,0.5",
    "--held-out",
    "0.1",
];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    GRID.iter().chain(more).copied().collect()
}

/// What is refused, in one line of bad input.
fn refused(arguments: &[&str]) -> String {
    let folders = Folders::new();
    let error = folders.run(&folders.toy(), arguments).expect_err("a refusal");
    assert!(error.is_bad_input(), "{error}");
    assert_eq!(folders.entered(), 0, "{arguments:?}: something was computed");
    let said = error.to_string();
    assert!(!said.contains('\n'), "{said}");
    said
}

#[test]
fn a_grid_has_a_line_for_each_point_and_the_best_is_named_with_those_that_are_near_to_it() {
    let folders = Folders::new();
    let printed = folders.run(&folders.toy(), &GRID).expect("a sweep");
    // Eight points and a teacher, each with the two seeds of the preset.
    assert_eq!(folders.entered(), 18);
    insta::assert_snapshot!("grid.csv", folders.csv("quick"));
    let place = folders.0.path().to_str().expect("a path");
    insta::assert_snapshot!("grid", printed.replace(place, "<place>"));
    let svg = std::fs::read_to_string(folders.sweeps("quick").join(CSV.replace("csv", "svg")));
    assert!(svg.expect("a picture").contains("78.31"));
}

#[test]
fn every_cell_of_a_sweep_holds_images_out_teachers_too_and_none_has_a_number_of_the_test_set() {
    let folders = Folders::new();
    folders.run(&folders.toy(), &GRID).expect("a sweep");
    let mut cells = 0;
    for cell in std::fs::read_dir(folders.runs()).expect("the runs") {
        let read = |file: &str| {
            std::fs::read_to_string(cell.as_ref().expect("a cell").path().join(file))
                .expect("a file")
        };
        let spec: toml::Table = read("spec.toml").parse().expect("a spec");
        assert_eq!(spec["spec"]["validation"]["share"].as_float(), Some(0.1));
        assert!(!read("result.json").contains("test"));
        cells += 1;
    }
    assert_eq!(cells, 18);
}

#[test]
fn a_repeated_sweep_computes_nothing_and_a_larger_one_only_what_is_new() {
    let folders = Folders::new();
    folders.run(&folders.toy(), &GRID).expect("a sweep");
    let before = files(&folders.0.path().join("results"));
    folders.run(&folders.toy(), &GRID).expect("a sweep");
    assert_eq!(folders.entered(), 18);
    assert_eq!(files(&folders.0.path().join("results")), before);
    let larger = GRID.map(|text| if text == "rate=0.25,0.5" { "rate=0.25,0.5,1" } else { text });
    folders.run(&folders.toy(), &larger).expect("a sweep");
    assert_eq!(folders.entered(), 18 + 8);
    // Another share is another split: nothing of it is known.
    let other = GRID.map(|text| if text == "0.1" { "0.2" } else { text });
    folders.run(&folders.toy(), &other).expect("a sweep");
    assert_eq!(folders.entered(), 18 + 8 + 18);
}

#[test]
fn a_budget_that_the_grid_fits_in_changes_nothing_and_a_smaller_one_makes_rungs() {
    let whole = Folders::new();
    let laptop = ["--preset", "laptop"];
    whole.run(&whole.toy(), &with(&laptop)).expect("a sweep");
    let fits = Folders::new();
    let printed = fits.run(&fits.toy(), &with(&["--preset", "laptop", "--budget", "5m"]));
    assert!(printed.expect("a sweep").contains("the whole grid: about 4m"));
    assert_eq!(fits.csv("laptop"), whole.csv("laptop"));

    // By the toy's estimate 60 seconds for the teacher and 240 for the grid of 10 epochs.
    let halved = Folders::new();
    let arguments = with(&["--preset", "laptop", "--budget", "150s"]);
    let printed = halved.run(&halved.toy(), &arguments).expect("a sweep");
    let place = halved.0.path().to_str().expect("a path");
    insta::assert_snapshot!("halved", printed.replace(place, "<place>"));
    insta::assert_snapshot!("halved.csv", halved.csv("laptop"));
    // Three seeds of the teacher, of eight points, of three and of one.
    assert_eq!(halved.entered(), 3 * (1 + 8 + 3 + 1));
    // What is finished plays no part in the choice of rungs.
    let again = halved.run(&halved.toy(), &arguments).expect("a sweep");
    assert_eq!(again, printed);
    assert_eq!(halved.entered(), 3 * 13);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let folders = Folders::new();
    let arguments = with(&["--preset", "laptop", "--budget", "150s", "--dry-run"]);
    let printed = folders.run(&folders.toy(), &arguments).expect("a plan");
    assert!(printed.contains("rung 3: 1 point, 10 epochs, about 30s"), "{printed}");
    assert_eq!(folders.entered(), 0);
    assert!(!folders.sweeps("laptop").exists());
}

#[test]
fn shards_run_their_part_and_say_what_is_missing_until_the_whole_is_there() {
    let whole = Folders::new();
    let budget = ["--preset", "laptop", "--budget", "150s"];
    whole.run(&whole.toy(), &with(&budget)).expect("a sweep");
    let folders = Folders::new();
    let shard = |part: &'static str| {
        let arguments = with(&["--preset", "laptop", "--budget", "150s", "--shard", part]);
        folders.run(&folders.toy(), &arguments).expect("a part")
    };
    let said = shard("1/2");
    assert!(said.contains("rung 1 of 3: 12 of 24 cells are finished; repeat"), "{said}");
    assert!(!folders.sweeps("laptop").join(CSV).exists());
    // Each rung begins where the other shard has done its part of the one before.
    let said = shard("2/2");
    assert!(said.contains("rung 2 of 3:"), "{said}");
    shard("1/2");
    shard("2/2");
    shard("1/2");
    assert_eq!(folders.csv("laptop"), whole.csv("laptop"));
    assert_eq!(folders.entered(), 3 * 13);
}

#[test]
fn a_point_that_fails_leaves_the_others_their_order_and_is_tried_again() {
    let folders = Folders::new();
    let toy = Toy { too_hot: Some(8.), ..folders.toy() };
    let notes = Notes::default();
    let arguments = folders.arguments(&with(&["--seeds", "1"]));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let error = noting(&toy, &arguments, &notes).expect_err("two points fail");
    assert!(error.is_bad_input());
    let said = error.to_string();
    assert!(said.starts_with("2 cells failed: sweep/student [temperature=8"), "{said}");
    let notes = notes.0.into_inner().expect("no test panics while it holds it").join("\n");
    assert!(notes.contains("loss term `kd` is NaN"), "{notes}");
    let lines = folders.csv("quick").lines().count();
    assert_eq!(lines, 1 + 6, "the points that are finished have their lines");
    let entered = folders.entered();
    let printed = folders.run(&folders.toy(), &with(&["--seeds", "1"])).expect("it does not fail");
    assert_eq!(folders.entered(), entered + 2);
    assert!(printed.contains("best of 8 points") && !printed.contains("partial"), "{printed}");
}

#[test]
fn a_point_that_fails_drops_out_of_the_rungs() {
    let folders = Folders::new();
    let toy = Toy { too_hot: Some(4.), ..folders.toy() };
    let arguments = with(&["--preset", "laptop", "--budget", "150s"]);
    assert!(folders.run(&toy, &arguments).is_err());
    let csv = folders.csv("laptop");
    let last = csv.lines().last().expect("a line");
    assert!(last.starts_with("student,2,0.5,3,validation-accuracy"), "{csv}");
}

#[test]
fn the_printed_row_put_into_the_file_has_the_settings_of_the_best_point() {
    let folders = Folders::new();
    let printed = folders.run(&folders.toy(), &GRID).expect("a sweep");
    let (_, row) = printed.split_once("below row student:\n\n").expect("a row");
    let (name, text) = EXPERIMENTS[0];
    let read = experiment_file::parse(name, name, &format!("{text}\n{row}")).expect("a table");
    let row = |name: &str| read.rows.iter().find(|row| row.name == name).expect("a row");
    let (old, new) = (row("student"), row("student-swept"));
    assert_eq!((&new.kind, &new.needs), (&old.kind, &old.needs));
    for preset in Preset::ALL {
        let mut expected = old.spec.at(preset).clone();
        expected["temperature"] = toml::Value::Integer(4);
        expected["rate"] = toml::Value::Float(0.5);
        assert_eq!(new.spec.at(preset), &expected);
    }
    assert_eq!(new.report.len(), 1);
    // A setting that the presets of the row change is chosen for the preset alone.
    let epochs = ["sweep", "nets/teacher", "--over", "epochs=1,2", "--held-out", "0.5"];
    let printed = folders.run(&folders.toy(), &epochs).expect("a sweep");
    assert!(printed.ends_with("[row.quick]\nepochs = 2\n"), "{printed}");
}

#[test]
fn what_cannot_be_swept_is_refused_before_anything_is_computed() {
    let sweep = |row: &'static str, over: &[&'static str], more: &[&'static str]| {
        let over = over.iter().flat_map(|axis| ["--over", axis]);
        let all = ["sweep", row].into_iter().chain(over).chain(["--held-out", "0.1"]);
        refused(&all.chain(more.iter().copied()).collect::<Vec<_>>())
    };
    for (row, over, more, said) in [
        ("student", &["rate=1"][..], &[][..], "student: expected TABLE/ROW"),
        ("net/student", &["rate=1"], &[], "net/student: no table `net`; did you mean `nets`?"),
        (
            "nets/studnet",
            &["rate=1"],
            &[],
            "no row `studnet` in table `nets`; did you mean `student`?",
        ),
        ("nets/student#1", &["rate=1"], &[], "no row `student#1` in table `nets`"),
        (
            "nets/student",
            &["rat=1"],
            &[],
            "--over rat: `rat` is not in the row's spec; did you mean `rate`?",
        ),
        (
            "nets/student",
            &["rate=fast"],
            &[],
            "--over rate: expected a number like the row's 0.5, got string `\"fast\"`",
        ),
        ("nets/student", &["rate=1", "rate=2"], &[], "--over rate: the setting is given twice"),
        (
            "nets/student",
            &["rate=1"],
            &[],
            "nets/student: the row stands for several, of temperature 1, 4: choose with --over temperature=VALUE",
        ),
        (
            "shift/several",
            &["rate=1"],
            &[],
            "shift/several: cells of kind ensemble of toy cannot hold out training images",
        ),
        (
            "nets/student",
            &["temperature=1,2,4"],
            &["--seeds", "1..400"],
            "--over: expected at most 1000 cells, got 3 points with 400 seeds, 1200 cells",
        ),
        (
            "nets/student",
            &["temperature=1,2,4"],
            &["--budget", "10s"],
            "--budget: 10s is too little: the grid takes about 26s, 2 rungs about 20s",
        ),
        (
            "nets/student",
            &["temperature=1"],
            &["--budget", "10s"],
            "--budget: 10s is too little: the grid takes about 14s, and 1 point of 3 epochs cannot be halved",
        ),
        (
            "nets/teacher",
            &["epochs=9,10"],
            &["--budget", "20s"],
            "--budget: rungs of a budget change epochs themselves: sweep it without one",
        ),
        (
            "nets/student",
            &["temperature=1"],
            &["--preset", "paper", "--data-dir", "x", "--budget", "1s"],
            "too little",
        ),
    ] {
        let found = sweep(row, over, more);
        assert!(found.contains(said), "{row} {over:?}: expected {said}\ngot {found}");
    }
    for (arguments, part) in [
        (&["sweep", "nets/student", "--held-out", "0.1"][..], "--over"),
        (&["sweep", "nets/student", "--over", "rate=1"], "--held-out"),
        (
            &["sweep", "nets/student", "--over", "rate", "--held-out", "0.1"],
            "expected KEY=VALUE,VALUE",
        ),
        (
            &["sweep", "nets/student", "--over", "rate=", "--held-out", "0.1"],
            "expected values with commas",
        ),
        (
            &["sweep", "nets/student", "--over", "rate=1,1.0", "--held-out", "0.1"],
            "the value 1 is given twice",
        ),
        (
            &["sweep", "nets/student", "--over", "rate=1", "--held-out", "0"],
            "expected a share above 0 and below 1",
        ),
        (
            &["sweep", "nets/student", "--over", "rate=1", "--held-out", "1"],
            "expected a share above 0 and below 1",
        ),
        (
            &["sweep", "nets/student", "--over", "rate=1", "--held-out", "NaN"],
            "expected a share above 0 and below 1",
        ),
        (
            &["sweep", "nets/student", "--over", "rate=1", "--held-out", "0.1", "--budget", "soon"],
            "expected a duration, for instance 90s, 30m or 1.5h, got `soon`",
        ),
    ] {
        let message = toy::parse(arguments).err().unwrap_or_default();
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}

#[test]
fn a_table_of_somebody_elses_in_its_place_is_left_alone() {
    let folders = Folders::new();
    let path = folders.sweeps("quick").join(CSV);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("a folder");
    std::fs::write(&path, "mine\n").expect("a file");
    let error = folders.run(&folders.toy(), &GRID).expect_err("a refusal");
    assert!(error.is_bad_input() && error.to_string().contains("move the file away"), "{error}");
    assert_eq!(folders.entered(), 0);
}
