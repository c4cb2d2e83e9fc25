//! The binary as a user runs it, on embedded data: repeats, kills, threads and bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

fn binary(dir: &Path, arguments: &[&str]) -> Command {
    binary_with(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments"), dir, arguments)
}

fn binary_with(experiments: &Path, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hinton-mnist"));
    command.args(arguments).arg("--experiments").arg(experiments).current_dir(dir);
    // A machine without a network and with an empty cache, whatever the one that runs the test has.
    command.env("HF_HOME", dir.join("hf")).env("HF_HUB_OFFLINE", "1");
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    binary(dir, arguments).output().expect("the binary starts")
}

/// The table without its timing column.
fn table(dir: &Path) -> String {
    let path = dir.join("results/hinton-mnist/embedded-quick/small.csv");
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

fn finished(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    table(dir)
}

#[test]
fn killed_at_random_moments_and_started_again_it_ends_with_the_table_of_an_uninterrupted_run() {
    let (whole, interrupted) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let expected = finished(whole.path(), &["--data", "embedded"]);
    assert!(expected.lines().count() == 4, "{expected}");
    let mut kills = 0;
    // A fixed list of waits, of no relation to anything: some fall into loading, most into
    // training, some into writing.
    for wait in [150u64, 420, 233, 610, 377, 90, 505, 290, 720, 340].into_iter().cycle() {
        let mut child = binary(interrupted.path(), &["--data", "embedded", "--save-every", "0"])
            .spawn()
            .expect("the binary starts");
        let end = std::time::Instant::now() + Duration::from_millis(wait + 15 * kills);
        let status = loop {
            match child.try_wait().expect("a status") {
                Some(status) => break Some(status),
                None if std::time::Instant::now() > end => break None,
                None => std::thread::sleep(Duration::from_millis(5)),
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
    assert_eq!(table(interrupted.path()), expected);
    let runs = interrupted.path().join("runs/hinton-mnist");
    let litter: Vec<PathBuf> = std::fs::read_dir(&runs)
        .expect("the runs")
        .flat_map(|cell| std::fs::read_dir(cell.expect("a cell").path()).expect("its files"))
        .map(|file| file.expect("a file").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with('.') || n == "state.safetensors")
        })
        .collect();
    assert!(litter.is_empty(), "{litter:?}");
}

#[cfg(unix)]
#[test]
fn interrupted_it_saves_says_so_and_goes_on_to_the_table_of_an_uninterrupted_run() {
    let (whole, interrupted) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let expected = finished(whole.path(), &["--data", "embedded"]);
    let mut stops = 0;
    for signal in ["-INT", "-TERM"].into_iter().cycle() {
        // Only the signal saves.
        let child = binary(interrupted.path(), &["--data", "embedded", "--save-every", "1000"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // Later and later, so that a slow machine gets there too.
        std::thread::sleep(Duration::from_millis(400 + 60 * stops));
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).output();
        // It may have ended already.
        drop(sent.expect("kill starts"));
        let output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), Some(130), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("stopped, ") && last.contains("the same command"), "{said}");
        stops += 1;
        assert!(stops < 100, "no progress between the signals: {said}");
    }
    assert!(stops >= 2, "only {stops} stops: the run is too short to be stopped");
    assert_eq!(table(interrupted.path()), expected);
}

#[test]
fn one_thread_and_three_give_the_same_table_and_a_second_run_computes_nothing() {
    let (one, three) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let a = finished(one.path(), &["--data", "embedded", "--threads", "1"]);
    let b = finished(three.path(), &["--data", "embedded", "--threads", "3"]);
    assert_eq!(a, b);
    let again = run(one.path(), &["--data", "embedded"]);
    assert!(
        again.status.success() && !String::from_utf8_lossy(&again.stderr).contains("epoch"),
        "{again:?}"
    );
    assert_eq!(table(one.path()), a);
}

#[test]
fn compare_reads_finished_cells_and_prints_both_networks() {
    let dir = tempfile::tempdir().expect("a folder");
    finished(dir.path(), &["--data", "embedded"]);
    let output =
        run(dir.path(), &["compare", "small/teacher#1", "small/student#2", "--data", "embedded"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in [
        "test errors",
        "errors on 9",
        "calibration error",
        "parameters",
        "multiply-adds",
        "latency of 1 image",
        "same class",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    // 784·60 + 60·60 + 60·10 weights and 130 biases; 784·30 + 30·10 and 40.
    assert!(text.contains("51370") && text.contains("23860"), "{text}");
    let shown = run(dir.path(), &["show", "small/student#2", "--data", "embedded"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in ["state: done", "kind = \"soft-targets\"", "test-errors", "epochs.csv", "loss", "█"]
    {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    // The folder's name does as well, and its first digits.
    let folder = text.lines().next().and_then(|line| line.rsplit('/').next()).expect("a folder");
    let again = run(dir.path(), &["show", &folder[..8], "--data", "embedded"]);
    let again = String::from_utf8_lossy(&again.stdout).into_owned();
    assert_eq!(again, text.replacen("state: done\n", "", 1));
}

#[test]
fn the_report_has_each_line_of_the_table_and_leads_to_its_cells() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = ["report", "--data", "embedded"];
    let none = run(dir.path(), &report);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    finished(dir.path(), &["--data", "embedded"]);
    assert!(run(dir.path(), &report).status.success());
    let page = std::fs::read_to_string(dir.path().join("report.html")).expect("the page");
    let table = table(dir.path());
    for line in table.lines().skip(1) {
        let row = line.split(',').next().expect("a row");
        assert!(page.contains(&format!("<td>{row}</td>")), "{row} is missing");
        for cell in line.rsplit(',').next().expect("the cells").split(';') {
            assert!(page.contains(&format!("href=\"#cell-{cell}\"")), "no link to {cell}");
            assert!(page.contains(&format!("<details id=\"cell-{cell}\">")), "no {cell}");
        }
    }
    assert!(page.contains("kind = &quot;soft-targets&quot;") && page.contains("loss by epoch"));
    for outside in ["http://", "https://", "<link rel=\"stylesheet", "src=\"/"] {
        let found = page
            .match_indices(outside)
            .any(|(at, _)| !page[at..].starts_with("http://www.w3.org/"));
        assert!(!found, "the page asks for {outside}");
    }
    let again = run(dir.path(), &report);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");
}

#[test]
fn kept_cells_give_the_report_its_curves_and_the_table_again_without_the_run_store() {
    let dir = tempfile::tempdir().expect("a folder");
    finished(dir.path(), &["--data", "embedded"]);
    let tables = dir.path().join("results/hinton-mnist/embedded-quick");
    let csv = std::fs::read(tables.join("small.csv")).expect("the table");
    let kept = run(dir.path(), &["table", "--keep-cells", "--data", "embedded"]);
    assert!(kept.status.success(), "{kept:?}");
    let runs = dir.path().join("runs");
    std::fs::remove_dir_all(&runs).expect("removed");
    let report = ["report", "--data", "embedded", "--tensorboard", "events", "--force"];
    assert!(run(dir.path(), &report).status.success());
    let page = std::fs::read_to_string(dir.path().join("report.html")).expect("the page");
    assert!(page.contains("loss by epoch"));
    // Each that was trained is a run of TensorBoard's.
    let events = dir.path().join("events/hinton-mnist/embedded-quick/small");
    let events: Vec<_> = std::fs::read_dir(events).expect("events").flatten().collect();
    let cells = std::fs::read_dir(tables.join("cells")).expect("cells").flatten();
    let trained = cells.filter(|cell| cell.path().join("epochs.csv").exists()).count();
    assert!(trained > 0 && events.len() == trained, "{events:?}, {trained} trained");
    let refused = run(dir.path(), &["report", "--to", "other.html", "--tensorboard", "events"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(!dir.path().join("other.html").exists());

    // As a person would do it: the kept cells become a run store.
    std::fs::create_dir(&runs).expect("a folder");
    std::fs::rename(tables.join("cells"), runs.join("hinton-mnist")).expect("renamed");
    std::fs::remove_file(tables.join("small.csv")).expect("removed");
    assert!(run(dir.path(), &["table", "--data", "embedded"]).status.success());
    assert_eq!(std::fs::read(tables.join("small.csv")).expect("the table"), csv);
    let networks = || std::fs::read_dir(runs.join("hinton-mnist")).expect("cells").flatten();
    assert!(networks().count() > 0);
    assert!(networks().all(|cell| !cell.path().join("network.safetensors").exists()));
}

#[test]
fn bad_input_is_one_line_that_says_what_and_where_with_exit_code_2() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_owned();
    std::fs::write(at("file"), "x").expect("a file");
    std::fs::create_dir(at("empty")).expect("a folder");
    std::fs::create_dir(at("short")).expect("a folder");
    for name in [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ] {
        std::fs::write(dir.path().join("short").join(name), [0, 0, 8, 3, 0, 0, 0, 1])
            .expect("a file");
    }
    let (file, empty, short) = (at("file"), at("empty"), at("short"));
    let below = format!("{file}/runs");
    let cases: [(&[&str], &str); 12] = [
        (&["run", "smal", "--data", "embedded"], "did you mean `small`?"),
        (&["--preset", "huge"], "huge"),
        (&["--device", "tpu"], "expected auto, cpu, cuda"),
        (&["--omit", "11"], "11"),
        (&["--omit", "5", "--data", "embedded"], "--omit"),
        (&["--data-dir", &empty], "train-images-idx3-ubyte"),
        (&["--data-dir", &short], "train-images-idx3-ubyte"),
        (&["--data", "mnist"], "HF_HUB_OFFLINE"),
        (&["--data", "embedded", "--runs-dir", &below], "file"),
        (&["compare", &file, &file, "--data", "embedded"], "safetensors"),
        (&["compare", "small/teacher", "small/nobody", "--data", "embedded"], "not finished"),
        (&["--threads", "0"], "from 1 to 1024"),
    ];
    for (arguments, part) in cases {
        let output = run(dir.path(), arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        let errors: Vec<&str> = text.lines().filter(|l| l.starts_with("error")).collect();
        assert!(
            errors.len() == 1 && text.contains(part),
            "{arguments:?}: expected {part:?} in\n{text}"
        );
    }
}

/// What `tests/experiments/small.toml` says.
fn small() -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments/small.toml"),
    )
    .expect("a file")
}

/// The same with a student of these hidden layers, of which so many layers begin as its teacher's.
fn inheriting(layers: usize, hidden: &str) -> String {
    small().replace(
        "network = { hidden = [30]",
        &format!("inherit-layers = {layers}\nnetwork = {{ hidden = {hidden}"),
    )
}

/// The binary in `dir`, with an experiment file of this text.
fn run_with(dir: &Path, command: &str, text: &str) -> Output {
    let experiments = dir.join("experiments");
    std::fs::create_dir_all(experiments.join("hinton-mnist")).expect("a folder");
    std::fs::write(experiments.join("hinton-mnist/small.toml"), text).expect("a file");
    binary_with(&experiments, dir, &[command, "--data", "embedded"])
        .output()
        .expect("the binary starts")
}

/// What the binary says as it refuses, in one line and with exit code 2, to do this with an
/// experiment file of this text.
fn refused(command: &str, text: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let output = run_with(dir.path(), command, text);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{command}: {said}");
    assert!(!said.contains("done "), "{command}: something was trained\n{said}");
    let errors: Vec<&str> = said.lines().filter(|l| l.starts_with("error")).collect();
    assert_eq!(errors.len(), 1, "{command}: {said}");
    errors[0].to_owned()
}

#[test]
fn a_student_that_begins_as_its_teacher_and_hardly_moves_makes_the_errors_of_its_teacher() {
    // 1e-9 a step for some hundred steps: no weight moves by a millionth.
    let still = inheriting(3, "[60, 60]")
        .replace("learning-rate = 0.002", "learning-rate = 1e-9")
        .replace(", omit = 3", "");
    let errors = |text: &str| {
        let dir = tempfile::tempdir().expect("a folder");
        // The bias row is of no use here.
        let output = run_with(
            dir.path(),
            "run",
            text.split("[[row]]\nname = \"bias\"").next().expect("a part"),
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // The columns mean and std.
        let errors =
            |line: &str| line.split(',').skip(3).take(2).map(str::to_owned).collect::<Vec<_>>();
        let of = |row: &str| {
            errors(table(dir.path()).lines().find(|l| l.starts_with(row)).expect("a line"))
        };
        (of("teacher"), of("student"))
    };
    let (teacher, student) = errors(&still);
    assert_eq!(student, teacher);
    let (teacher, student) = errors(&still.replace("inherit-layers = 3", "inherit-layers = 1"));
    assert_ne!(student, teacher, "two layers that begin at random and stay so");
}

#[test]
fn a_misspelt_field_of_a_recipe_is_refused_by_run_and_list_and_the_nearest_is_named() {
    let text = small().replacen("learning-rate", "learing-rate", 1);
    for command in ["run", "list"] {
        let said = refused(command, &text);
        assert!(
            said.contains("small/teacher") && said.contains("did you mean `learning-rate`?"),
            "{command}: {said}"
        );
    }
}

#[test]
fn a_recipe_that_cannot_run_is_refused_before_anything_is_trained() {
    let good = small();
    let needs_of_student = "needs = { teacher = \"teacher\" }";
    let gradient = "\n[[row]]\nname = \"gradient\"\nkind = \"gradient-limit\"\nneeds = { student = \"student\", teacher = \"NET\" }\n\
                    [row.spec]\ntemperature = T\nimages = N\n";
    let with_gradient = |net: &str, t: &str, n: &str| {
        format!("{good}{}", gradient.replace("NET", net).replace('T', t).replace('N', n))
    };
    let changed = |from: &str, to: &str| good.replace(from, to);
    let cases = [
        (changed(needs_of_student, ""), "needs.teacher: expected at least one cell of kind train, got 0"),
        (
            changed(needs_of_student, "needs = { taecher = \"teacher\" }"),
            "needs.taecher: this cell has no such need; did you mean `teacher`?",
        ),
        (
            changed(needs_of_student, "needs = { teacher = \"teacher#1..2\" }"),
            "2 teachers: expected teachers = \"arithmetic\" or \"geometric\"",
        ),
        (changed("needs = { student = \"student\" }", ""), "needs.student: expected one cell of kind train, got 0"),
        (changed("limit = 1500\nheld-out = 0.2", "limit = 10\nheld-out = 0.2"), "expected the student's own limit 1500 and held-out 0.2"),
        (changed("limit = 1500\nheld-out = 0.2", "limit = 1500\nheld-out = 0.0"), "expected held-out above 0 and below 1, got 0"),
        (changed("step = 0.5", "step = 1e-9"), "expected at most 10,000 steps"),
        (changed("epoch-images = 0", "epoch-images = 200000000"), "examples.epoch-images: expected 0 to 100000000, got 200000000"),
        (changed("held-out = 0.2, classes", "held-out = 1.0, classes"), "expected held-out in [0, 1), got 1"),
        (changed("fraction = 1.0", "fraction = 0.0"), "expected fraction in (0, 1], got 0"),
        (changed("jitter = 2", "jitter = 28"), "expected a jitter of less than an image's 28 pixels, got 28"),
        (changed("omit = 3", "omit = 10"), "omit: expected different digits"),
        (
            changed("\"bias-on-held-out.test-errors\"", "\"bias-on-held-out.test-error\""),
            "has no metric `bias-on-held-out.test-error`; did you mean `bias-on-held-out.test-errors`?",
        ),
        (
            changed("unit = \"errors\" }]", "unit = \"errors\" }, { name = \"held-out-errors\", unit = \"errors\" }]"),
            "has no metric `held-out-errors`",
        ),
        (with_gradient("bias", "1.0", "10"), "needs.teacher: expected one cell of kind train, got small/bias seed 1 of kind bias"),
        (with_gradient("teacher", "1.0", "0"), "images: expected 1 to 100000000, got 0"),
        (with_gradient("teacher", "1.0", "9000000000000000000"), "images: expected 1 to 100000000, got 9000000000000000000"),
        (with_gradient("teacher", "1e-300", "10"), "expected a temperature from 0.001 to 1,000,000, got 1e-300"),
        (inheriting(1, "[30]"), "inherit-layers: expected a teacher with hidden layers at least as wide as [30], inputs and classes alike"),
        (inheriting(1, "[60, 61]"), "inherit-layers: expected a teacher with hidden layers at least as wide as [60, 61]"),
        (inheriting(4, "[60, 60]"), "inherit-layers: expected 1 to 3, got 4"),
        (
            inheriting(3, "[60, 60]").replace(needs_of_student, "needs = { teacher = \"teacher#1..2\" }").replace(
                "method = { kind = \"soft-targets\", temperature = 4.0, soft-weight = 1.0, hard-weight = 0.1 }",
                "method = { kind = \"hard-targets\" }\nteachers = \"arithmetic\"",
            ),
            "inherit-layers: expected one teacher, got 2",
        ),
        (changed("temperature = 4.0", "temperature = 1e300"), "expected a temperature from 0.001 to 1,000,000, got 1e300"),
    ];
    for (text, part) in cases {
        let said = refused("run", &text);
        assert!(said.contains(part), "expected {part:?} in\n{said}");
    }
}
