//! The run store under everything that may happen to it: killed processes, several processes,
//! damaged files, folders copied together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use toy::{Notes, Toy, files, main, noting};

mod refusals;
#[path = "../toy/mod.rs"]
mod toy;

/// The runs and results folders of a test.
struct TestFolders {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl TestFolders {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_path_buf();
        Self { _dir: dir, root }
    }

    fn arguments<'a>(&self, more: &[&'a str]) -> Vec<String> {
        let own =
            ["--runs-dir", self.runs().to_str().unwrap(), "--out", self.out().to_str().unwrap()]
                .map(str::to_string);
        own.into_iter().chain(more.iter().map(|text: &&'a str| text.to_string())).collect()
    }

    fn run(&self, toy: &Toy, more: &[&str]) -> Result<String, kd_experiment::Error> {
        let arguments = self.arguments(more);
        main(toy, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    fn out(&self) -> PathBuf {
        self.root.join("results")
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    fn logged(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap_or_default().lines().map(str::to_string).collect()
    }

    /// The toy binary in a process of its own: this test binary, told to run `child_process` alone.
    fn spawn(&self, more: &[&str], epoch: Duration) -> Child {
        let arguments = self.arguments(more).join("\n");
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process", "--nocapture"])
            .env("KD_TOY_ARGUMENTS", arguments)
            .env("KD_TOY_LOG", self.log())
            .env("KD_TOY_EPOCH", epoch.as_millis().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// Not a test of its own: the body of the processes that [`TestFolders::spawn`] starts.
#[test]
fn child_process() {
    let Ok(arguments) = std::env::var("KD_TOY_ARGUMENTS") else { return };
    let milliseconds = std::env::var("KD_TOY_EPOCH").unwrap().parse().unwrap();
    let toy = Toy {
        log: std::env::var_os("KD_TOY_LOG").map(PathBuf::from),
        epoch: Duration::from_millis(milliseconds),
        ..Toy::default()
    };
    main(&toy, &arguments.lines().collect::<Vec<_>>()).unwrap();
}

/// The result of one uninterrupted process, to compare with.
fn undisturbed() -> TestFolders {
    let place = TestFolders::new();
    place.run(&Toy::default(), &[]).unwrap();
    place
}

fn cell_dirs(place: &TestFolders) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = fs::read_dir(place.runs().join("toy"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    dirs.sort();
    dirs
}

#[test]
fn a_process_killed_again_and_again_ends_with_the_same_tables() {
    let place = TestFolders::new();
    // A linear congruential generator: the moments are odd, and the same each time the test is run.
    // They come later and later, so that a slow machine gets there too.
    let mut state = 12345u64;
    let mut kills = 0;
    for attempt in 0..500 {
        let mut child = place.spawn(&[], Duration::from_millis(6));
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        std::thread::sleep(Duration::from_millis(15 + (state >> 33) % 60 + attempt));
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
    assert!(kills >= 3, "only {kills} kills: the test kills too late to say anything");
    assert_eq!(files(&place.out()), files(&undisturbed().out()));
    // A process that is killed behind its result leaves its lock, for which nobody asks any more.
    assert!(
        files(&place.root).iter().all(|(path, _)| !path.to_string_lossy().contains(".tmp-")),
        "temporary files are left"
    );
}

#[test]
fn two_processes_on_one_store_run_each_cell_once() {
    let place = TestFolders::new();
    let children = [0, 1].map(|_| place.spawn(&[], Duration::from_millis(10)));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut logged = place.logged();
    logged.sort();
    let entered = logged.len();
    logged.dedup();
    assert_eq!(logged.len(), entered, "a cell was entered twice");
    assert_eq!(entered, cell_dirs(&place).len());
    assert_eq!(files(&place.out()), files(&undisturbed().out()));
}

#[test]
fn a_cell_that_another_process_holds_is_awaited_and_taken_over_when_that_process_dies() {
    let place = TestFolders::new();
    // Slow enough that it surely holds its first cell when it is killed.
    let mut holder = place.spawn(&[], Duration::from_secs(60));
    while place.logged().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(place.run(&Toy::default(), &["list"]).unwrap().contains("running"));
    let mut heir = place.spawn(&[], Duration::ZERO);
    std::thread::sleep(Duration::from_millis(300));
    assert!(heir.try_wait().unwrap().is_none(), "it did not wait");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(heir.wait().unwrap().success());
    assert_eq!(files(&place.out()), files(&undisturbed().out()));
}

#[test]
fn finished_cells_are_not_run_again_and_tables_are_derived_with_the_same_bytes() {
    let place = TestFolders::new();
    let toy = Toy { log: Some(place.log()), ..Toy::default() };
    place.run(&toy, &[]).unwrap();
    let (before, entered) = (files(&place.out()), place.logged().len());
    fs::remove_dir_all(place.out()).unwrap();
    place.run(&toy, &["table"]).unwrap();
    assert_eq!(files(&place.out()), before);
    place.run(&toy, &["run"]).unwrap();
    assert_eq!(place.logged().len(), entered);
}

#[test]
fn a_table_has_the_expected_columns_and_numbers() {
    let place = undisturbed();
    let text = fs::read_to_string(place.out().join("toy/mnist-quick/nets.csv")).unwrap();
    insta::assert_snapshot!("nets.csv", text);
    let text = fs::read_to_string(place.out().join("toy/mnist-quick/shift.csv")).unwrap();
    insta::assert_snapshot!("shift.csv", text);
    let printed = place.run(&Toy::default(), &["table"]).unwrap();
    insta::assert_snapshot!("printed", printed.replace(place.root.to_str().unwrap(), "<place>"));
    insta::assert_snapshot!(
        "list",
        place.run(&Toy::default(), &["list", "--seeds", "1,9"]).unwrap()
    );
}

#[test]
fn shards_run_apart_and_merged_by_copying_are_the_same_as_the_whole() {
    let (one, two, merged) = (TestFolders::new(), TestFolders::new(), TestFolders::new());
    one.run(&Toy::default(), &["--shard", "1/2"]).unwrap();
    two.run(&Toy::default(), &["--shard", "2/2"]).unwrap();
    let whole = undisturbed();
    for place in [&one, &two] {
        assert!(cell_dirs(place).len() < cell_dirs(&whole).len(), "a shard ran everything");
        for (path, bytes) in files(&place.runs()) {
            let target = merged.runs().join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, bytes).unwrap();
        }
    }
    merged.run(&Toy::default(), &["table"]).unwrap();
    assert_eq!(files(&merged.out()), files(&whole.out()));
}

#[test]
fn a_table_with_unfinished_cells_is_written_only_when_asked_for() {
    let place = TestFolders::new();
    place.run(&Toy::default(), &["run", "nets", "--seeds", "1"]).unwrap();
    fs::remove_dir_all(place.out()).unwrap();
    let printed = place.run(&Toy::default(), &["table", "nets"]).unwrap();
    assert_eq!(printed, "nets: 3 of 6 cells are finished; not written\n");
    assert!(!place.out().exists());
    let printed = place.run(&Toy::default(), &["table", "nets", "--partial"]).unwrap();
    assert!(printed.contains("partial: 3 of 6 cells are finished"), "{printed}");
    let csv = fs::read_to_string(place.out().join("toy/mnist-quick/nets.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let n = reader.headers().unwrap().iter().position(|name| name == "n").unwrap();
    assert!(reader.records().all(|record| &record.unwrap()[n] == "1"));
}

#[test]
fn a_failed_cell_does_not_stop_those_that_do_not_need_it_and_is_tried_again() {
    let place = TestFolders::new();
    let toy = || Toy { fail_on: Some(2), log: Some(place.log()), ..Toy::default() };
    let error = place.run(&toy(), &[]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("failed nets/teacher seed 2 (")
            && text.contains("): train: term `kd` is not finite at step 3; see ")
            && text.ends_with("; 3 cells not run for want of it"),
        "{text}"
    );
    assert!(!error.is_bad_input());
    // Teachers 1 and 3 and the two students of teacher 1.
    let finished =
        || cell_dirs(&place).into_iter().filter(|dir| dir.join("result.json").exists()).count();
    assert_eq!((finished(), place.logged().len()), (4, 5));
    place.run(&toy(), &[]).unwrap_err();
    assert_eq!(place.logged().len(), 6, "the failed cell alone is tried again");
    place.run(&Toy::default(), &[]).unwrap();
    assert_eq!(files(&place.out()), files(&undisturbed().out()));
}

#[test]
fn each_failed_cell_is_listed_at_the_end_with_its_cause_and_where_to_read_on() {
    let place = TestFolders::new();
    let toy = Toy { fail_on: Some(2), ..Toy::default() };
    let notes = Notes::default();
    let arguments = place.arguments(&["run", "nets"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    noting(&toy, &arguments, &notes).unwrap_err();
    let notes = notes.0.into_inner().unwrap();
    let list = &notes[notes.len() - 3..];
    let runs = place.runs().display().to_string();
    assert!(
        list[0].starts_with("failed nets/teacher seed 2 (")
            && list[0].contains("): train: term `kd` is not finite at step 3; see ")
            // The log where the test's messages go to a file, the folder elsewhere.
            && (list[0].contains(&runs) || list[0].contains(".log") || list[0].contains('/')),
        "{list:?}"
    );
    for (line, temperature) in list[1..].iter().zip([1, 4]) {
        let cell = format!("not run nets/student [temperature={temperature}] seed 2 (");
        assert!(line.starts_with(&cell), "{line}");
        assert!(line.contains("): it needs nets/teacher seed 2 ("), "{line}");
    }
}

#[test]
fn a_group_runs_its_own_cells_and_never_tries_what_they_need() {
    let place = TestFolders::new();
    let failing = Toy { fail_on: Some(2), log: Some(place.log()), ..Toy::default() };
    let error = place.run(&failing, &["run", "nets", "--group", "needed-0"]).unwrap_err();
    assert!(error.to_string().starts_with("failed nets/teacher seed 2 ("), "{error}");
    assert_eq!(place.logged().len(), 2);
    let error = place.run(&failing, &["run", "nets", "--group", "last-1"]).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("2 cells not run for want of another: nets/student"), "{text}");
    assert!(!error.is_bad_input());
    assert_eq!(place.logged().len(), 4, "a teacher was tried again");
    assert!(!place.out().exists(), "a group is no table");
    // With the teacher mended, the group of the students is complete.
    place.run(&Toy::default(), &["run", "nets", "--group", "needed-0"]).unwrap();
    for shard in ["1/3", "2/3", "3/3"] {
        let arguments = ["run", "nets", "--group", "last-1", "--shard", shard];
        place.run(&Toy::default(), &arguments).unwrap();
    }
    place.run(&Toy::default(), &["table", "nets"]).unwrap();
    let table =
        |place: &TestFolders| fs::read(place.out().join("toy/mnist-quick/nets.csv")).unwrap();
    assert_eq!(table(&place), table(&undisturbed()));
    let text = place.run(&Toy::default(), &["run", "--group", "last-7"]).map(|_| ());
    assert!(text.unwrap_err().to_string().contains("expected one of needed-0, last-1"));
}

#[test]
fn a_group_refuses_other_data_than_it_was_made_for() {
    let place = TestFolders::new();
    place.run(&Toy::default(), &["run", "nets", "--expect-data", "mnist:0123"]).unwrap();
    for command in ["run", "table"] {
        let arguments = [command, "nets", "--expect-data", "mnist:0124"];
        let error = place.run(&Toy::default(), &arguments).unwrap_err();
        assert!(error.is_bad_input());
        assert!(error.to_string().contains("expected mnist:0124, got mnist:0123"), "{error}");
    }
}

#[test]
fn the_status_names_what_is_done_failed_stopped_and_waited_for() {
    let place = TestFolders::new();
    let status = |arguments: &[&str]| {
        let all: Vec<&str> = ["status", "nets"].iter().chain(arguments).copied().collect();
        place.run(&Toy::default(), &all).unwrap()
    };
    let lines = |text: &str, state: &str| text.matches(&format!("  {state}")).count();
    let before = status(&[]);
    assert!(before.ends_with("6 cells: 6 waiting; preset quick\n"), "{before}");
    assert_eq!(before.matches("for nets/teacher seed 2\n").count(), 2, "{before}");
    place.run(&Toy { fail_on: Some(2), ..Toy::default() }, &["run", "nets"]).unwrap_err();
    let after = status(&[]);
    assert!(after.ends_with("6 cells: 3 done, 1 failed, 2 waiting; preset quick\n"), "{after}");
    assert!(after.contains("failed   train: term `kd` is not finite at step 3; see "), "{after}");
    assert_eq!(lines(&after, "done"), 3, "{after}");
    let mut holder = place.spawn(&["run", "nets"], Duration::from_secs(60));
    let start = std::time::Instant::now();
    // The teacher had only its result left to write: the student is at work for a minute.
    while !status(&[]).contains("4 done, 1 running") {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", status(&[]));
        std::thread::sleep(Duration::from_millis(5));
    }
    let during = status(&[]);
    assert!(during.contains(&format!("  running  process {} on ", holder.id())), "{during}");
    assert!(!during.contains("failed"), "a new attempt forgets the failure of the last");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let killed = status(&[]);
    assert!(killed.contains(&format!("  partial  process {} on ", holder.id())), "{killed}");
    assert!(killed.contains(" died; see "), "{killed}");
}

#[test]
fn a_cell_taken_over_from_a_dead_process_is_named_with_that_process() {
    let place = TestFolders::new();
    let mut holder = place.spawn(&["run", "nets"], Duration::from_secs(60));
    while place.logged().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    let notes = Notes::default();
    let arguments = place.arguments(&["run", "nets"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    noting(&Toy::default(), &arguments, &notes).unwrap();
    let notes = notes.0.into_inner().unwrap();
    assert!(
        notes[0].starts_with("nets/teacher seed 1 (")
            && notes[0].contains(&format!("): taken over from process {} on ", holder.id()))
            && notes[0].ends_with(", which has ended"),
        "{notes:?}"
    );
}

#[test]
fn many_processes_on_one_store_of_which_some_are_killed_run_each_cell_to_its_end_once() {
    let place = TestFolders::new();
    let mut children: Vec<Child> =
        (0..6).map(|_| place.spawn(&[], Duration::from_millis(15))).collect();
    for (number, child) in children.iter_mut().enumerate().take(3) {
        std::thread::sleep(Duration::from_millis(40 + 30 * number as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for child in &mut children[3..] {
        assert!(child.wait().unwrap().success());
    }
    // A cell is entered again only where its process was killed.
    let cells = cell_dirs(&place).len();
    assert!((cells..=cells + 3).contains(&place.logged().len()), "{:?}", place.logged());
    assert_eq!(files(&place.out()), files(&undisturbed().out()));
}

#[test]
fn a_table_is_written_though_a_cell_of_another_failed() {
    let place = TestFolders::new();
    let toy = Toy { fail_on: Some(7), ..Toy::default() };
    place.run(&toy, &[]).unwrap_err();
    let table = |name: &str| place.out().join("toy/mnist-quick").join(name);
    assert!(table("nets.csv").exists() && !table("shift.csv").exists());
}

#[test]
fn a_failed_cell_stops_a_run_that_is_to_fail_fast() {
    let place = TestFolders::new();
    let toy = Toy { fail_on: Some(2), ..Toy::default() };
    let error = place.run(&toy, &["run", "--fail-fast"]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("nets/teacher seed 2 (")
            && text.ends_with("term `kd` is not finite at step 3"),
        "{text}"
    );
    assert!(!error.is_bad_input());
    let finished =
        || cell_dirs(&place).into_iter().filter(|dir| dir.join("result.json").exists()).count();
    assert_eq!(finished(), 1);
    place.run(&Toy::default(), &[]).unwrap();
    assert_eq!(files(&place.out()), files(&undisturbed().out()));
}
