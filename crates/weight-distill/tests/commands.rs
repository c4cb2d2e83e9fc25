//! The binary as a user runs it, on the generated language pair: repeats, threads, kills, the
//! commands that work on files, and bad input.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

fn command(dir: &Path, arguments: &[&str]) -> Command {
    command_with(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments"), dir, arguments)
}

fn command_with(experiments: &Path, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weight-distill"));
    command.args(arguments).arg("--experiments").arg(experiments).current_dir(dir);
    // A machine without a network and with an empty cache, whatever the one that runs the test has.
    command.env("HF_HOME", dir.join("hf")).env("HF_HUB_OFFLINE", "1");
    command
}

fn succeeds(dir: &Path, arguments: &[&str]) -> String {
    let output = command(dir, arguments).output().expect("the binary starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output: Output = command(dir, arguments).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    said
}

const RUN: [&str; 4] = ["run", "small", "--data", "embedded"];

/// The table without its timing column.
fn table(dir: &Path) -> String {
    let path = dir.join("results/weight-distill/embedded-quick/small.csv");
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

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn killed_runs_go_on_to_the_table_of_an_uninterrupted_one_and_threads_do_not_change_it() {
    let (whole, killed) = (folder(), folder());
    let started = Instant::now();
    succeeds(whole.path(), &[&RUN[..], &["--threads", "1"]].concat());
    // Waits that end all over the run, in training, decoding and writing, however fast the machine
    // is: the run is at least this many of them long. They grow, because a killed run begins its
    // step anew.
    let wait = started.elapsed() / 12;
    let mut kills = 0;
    loop {
        let arguments = [&RUN[..], &["--threads", "3", "--save-every", "0"]].concat();
        let mut child = command(killed.path(), &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let end = Instant::now() + wait + wait * kills / 8;
        let status = loop {
            match child.try_wait().expect("a status") {
                Some(status) => break Some(status),
                None if Instant::now() > end => break None,
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
        assert!(kills < 300, "no progress between the kills");
    }
    assert!(kills >= 4, "only {kills} kills: the run is too short to be interrupted");
    assert_eq!(table(whole.path()), table(killed.path()));
}

#[test]
fn a_trained_network_translates_and_a_generator_is_materialised_to_the_network_of_its_cell() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    succeeds(dir.path(), &["train", "small/generated", "--data", "embedded", "--to", "student"]);
    assert!(at("student/network.safetensors").is_file());
    let again =
        refused(dir.path(), &["train", "small/generated", "--data", "embedded", "--to", "student"]);
    assert!(again.contains("student/network.safetensors"), "{again}");

    let decoded = succeeds(
        dir.path(),
        &["decode", "student", "--data", "embedded", "--to", "a.txt", "--beam", "2"],
    );
    assert!(decoded.starts_with("BLEU "), "{decoded}");
    succeeds(
        dir.path(),
        &["materialise", "small/generated", "--data", "embedded", "--to", "again"],
    );
    succeeds(
        dir.path(),
        &["decode", "again", "--data", "embedded", "--to", "b.txt", "--beam", "2"],
    );
    let read = |name: &str| std::fs::read_to_string(at(name)).expect("translations");
    assert_eq!(read("a.txt"), read("b.txt"));

    let score = succeeds(dir.path(), &["score", "a.txt", "a.txt"]);
    assert!(score.starts_with("BLEU = 100.00"), "{score}");

    let mut child = command(dir.path(), &["translate", "student", "--data", "embedded"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all("the dog\n\nthe cat sees\r\nlast".as_bytes())
        .expect("a write");
    let output = child.wait_with_output().expect("an end");
    let (lines, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let lines: Vec<&str> = lines.split_terminator('\n').collect();
    assert_eq!((lines.len(), lines[1]), (4, ""), "a line for each line");
    assert!(said.contains("standard input: 1 empty line, which stays empty\n"), "{said}");
}

/// `translate` of a network in `dir`, with pipes.
fn translator(dir: &Path, more: &[&str]) -> std::process::Child {
    command(dir, &[&["translate", "model", "--data", "embedded"], more].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// What `translate` makes of a text, and what it says.
fn translated(dir: &Path, text: &str) -> (Vec<String>, String) {
    let mut child = translator(dir, &[]);
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a write");
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text:?}: {said}");
    let lines = String::from_utf8_lossy(&output.stdout);
    (lines.split_terminator('\n').map(str::to_owned).collect(), said)
}

#[test]
fn blanks_around_and_between_words_change_no_translation_and_alone_give_none() {
    let dir = folder();
    succeeds(dir.path(), &["train", "small/teacher", "--data", "embedded", "--to", "model"]);
    // A sentence of the corpus, so that its translation is not empty.
    let line = translated(dir.path(), "a dog runs\n").0.concat();
    assert!(!line.is_empty(), "the test needs a translation");
    let texts = [
        " a dog runs",
        "a dog runs ",
        "\ta dog runs",
        "a dog runs\t\r",
        "\u{feff}a dog runs",
        "a dog runs\u{a0}",
        "a  dog runs",
        "a\tdog \u{a0}runs",
        " ",
        "\t",
        "\u{a0}",
        "\u{feff}",
    ];
    let text: String = texts.map(|text| format!("{text}\n")).concat();
    let (lines, said) = translated(dir.path(), &text);
    for (text, got) in texts.iter().zip(&lines) {
        let expected = if text.contains("dog") { &*line } else { "" };
        assert_eq!(got, expected, "{text:?}");
    }
    assert_eq!(lines.len(), texts.len());
    assert!(said.contains("4 empty lines, which stay empty"), "{said}");
}

#[test]
fn translations_come_while_the_input_is_open_in_order_and_survive_a_kill() {
    let dir = folder();
    succeeds(dir.path(), &["train", "small/teacher", "--data", "embedded", "--to", "model"]);
    let texts: Vec<String> =
        (0..40).map(|i| ["the dog", "", "the cat sees"][i % 3].into()).collect();
    let whole =
        translated(dir.path(), &texts.iter().map(|t| format!("{t}\n")).collect::<String>()).0;
    assert_eq!(whole.len(), 40);
    // Two windows of eight batches, and eight lines over.
    let mut child = translator(dir.path(), &["--batch", "2", "--output", "out.txt"]);
    let mut input = child.stdin.take().expect("a pipe");
    let text: String = texts.iter().map(|t| format!("{t}\n")).collect();
    input.write_all(text.as_bytes()).expect("a write");
    input.flush().expect("a write");
    let done = || std::fs::read_to_string(dir.path().join("out.txt")).unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(120);
    while done().lines().count() < 32 {
        assert!(Instant::now() < end, "nothing came while the input was open");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("a kill");
    child.wait().expect("its end");
    assert_eq!(done().lines().collect::<Vec<_>>(), whole[..32]);
    // A line at a time, as in a conversation.
    let mut child = translator(dir.path(), &["--batch", "1"]);
    let mut input = child.stdin.take().expect("a pipe");
    let mut answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for (text, expected) in texts.iter().zip(&whole).take(4) {
        writeln!(input, "{text}").expect("a write");
        assert_eq!(&answers.next().expect("an answer").expect("a line"), expected);
    }
    drop(input);
    assert!(child.wait().expect("its end").success());
}

#[cfg(unix)]
#[test]
fn one_interrupt_ends_a_translation_that_waits_for_its_next_line() {
    let dir = folder();
    succeeds(dir.path(), &["train", "small/teacher", "--data", "embedded", "--to", "model"]);
    let mut child = translator(dir.path(), &["--batch", "1"]);
    let mut input = child.stdin.take().expect("a pipe");
    let mut answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    writeln!(input, "the dog").expect("a write");
    answers.next().expect("an answer").expect("a line");
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill starts").success());
    let end = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().expect("its state") {
            break status;
        }
        assert!(Instant::now() < end, "it still waits for its input");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
    drop(input);
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_translation_of_endless_text_quietly() {
    let dir = folder();
    succeeds(dir.path(), &["train", "small/teacher", "--data", "embedded", "--to", "model"]);
    let mut child = translator(dir.path(), &["--batch", "2"]);
    let mut input = child.stdin.take().expect("a pipe");
    let endless = std::thread::spawn(move || while input.write_all(b"the dog\n").is_ok() {});
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    output.read_line(&mut String::new()).expect("a line");
    drop(output);
    let output = child.wait_with_output().expect("an end");
    endless.join().expect("the end of the text");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{}", output.status);
}

#[test]
fn a_file_with_a_bad_line_at_its_end_leaves_no_output_and_the_input_is_never_overwritten() {
    let dir = folder();
    succeeds(dir.path(), &["train", "small/teacher", "--data", "embedded", "--to", "model"]);
    let path = |name: &str| dir.path().join(name);
    let good = "the dog\n".repeat(40);
    std::fs::write(path("bad.txt"), [good.as_bytes(), b"na\xefve\n"].concat()).expect("a file");
    std::fs::write(path("good.txt"), &good).expect("a file");
    let translate = |more: &[&str]| {
        refused(dir.path(), &[&["translate", "model", "--batch", "2"], more].concat())
    };
    let said = translate(&["--input", "bad.txt", "--output", "out.txt"]);
    assert!(said.contains("bad.txt: line 41: expected UTF-8"), "{said}");
    assert!(!path("out.txt").exists());
    let said = translate(&["--input", "good.txt", "--output", "./good.txt", "--force"]);
    assert!(said.contains("--output ./good.txt: expected another file than the text's"), "{said}");
    assert_eq!(std::fs::read_to_string(path("good.txt")).expect("the text"), good);
    let said = translate(&["--input", "good.txt", "--output", "no/out.txt"]);
    assert!(said.contains("no/out.txt"), "{said}");

    // Of a stream, what comes before the bad line is done.
    let mut child = translator(dir.path(), &["--batch", "2"]);
    let bytes = std::fs::read(path("bad.txt")).expect("the text");
    child.stdin.take().expect("a pipe").write_all(&bytes).expect("a write");
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(
        said,
        "error: standard input: line 41: expected UTF-8, got other bytes from byte 2 on\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 40);
}

#[test]
fn numbers_that_no_memory_or_machine_holds_are_refused_before_anything_is_read() {
    let dir = folder();
    let cases: [(&[&str], &str); 6] = [
        (&["--beam", "100000"], "search.beam: expected 1 to 1000, got 100000"),
        (&["--batch", "18446744073709551615"], "search.batch: expected 1 to 65536"),
        (&["--length-extra", "18446744073709551615"], "search.length-extra"),
        (&["--length-factor", "inf"], "length-factor"),
        (&["--threads", "100000"], "expected a whole number from 1 to 1024, got `100000`"),
        (&["--beam", "99999999999999999999"], "--beam"),
    ];
    for (arguments, part) in cases {
        let arguments = [&["translate", "gone"], arguments].concat();
        let output = command(dir.path(), &arguments).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    for (name, value, part) in [
        ("KD_KERNELS", "avx1024", "KD_KERNELS: expected off, portable, avx2 or avx512, got"),
        ("RAYON_NUM_THREADS", "100000", "RAYON_NUM_THREADS: expected a whole number from 1 to"),
        ("CANDLE_NUM_THREADS", "100000", "CANDLE_NUM_THREADS: expected a whole number from 1 to"),
    ] {
        for arguments in [&["list", "--data", "embedded"][..], &["score", "gone", "gone"]] {
            let output = command(dir.path(), arguments).env(name, value).output();
            let output = output.expect("the binary starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn a_page_in_a_cache_below_a_tilde_is_found_in_the_home_folder_and_named() {
    let dir = folder();
    let repo = dir.path().join("cache/hub/datasets--bentrevett--multi30k");
    let snapshot = repo.join("snapshots").join("0".repeat(40));
    for folder in [repo.join("refs"), snapshot.clone()] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::write(repo.join("refs/main"), "0".repeat(40)).expect("a file");
    for name in ["train.jsonl", "val.jsonl", "test.jsonl"] {
        std::fs::write(snapshot.join(name), "<html>log in</html>").expect("a file");
    }
    let output = command(dir.path(), &["list", "small"])
        .env("HOME", dir.path())
        .env("HF_HOME", "~/cache")
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = format!(
        "error: {}: expected JSON lines, got a page of HTML or XML; delete {}, and it is downloaded again\n",
        snapshot.join("train.jsonl").display(),
        repo.display()
    );
    assert_eq!(said, expected);
}

#[test]
fn bad_text_models_and_vocabularies_are_refused_with_file_and_line() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    succeeds(dir.path(), &["train", "small/teacher", "--data", "embedded", "--to", "model"]);
    std::fs::write(path("latin.txt"), b"fine\nna\xefve\n").expect("a file");
    std::fs::write(path("long.txt"), format!("short\n{}\n", "a ".repeat(3000))).expect("a file");
    std::fs::write(path("one.txt"), "one\n").expect("a file");
    std::fs::write(path("two.txt"), "one\ntwo\n").expect("a file");
    std::fs::write(path("empty.txt"), "").expect("a file");
    let cases: [(&[&str], &[&str]); 8] = [
        (&["translate", "model", "--input", "latin.txt"], &["latin.txt: line 2", "UTF-8"]),
        (&["translate", "model", "--input", "long.txt"], &["long.txt: line 2", "at most 1023"]),
        (&["translate", "model", "--input", "gone.txt"], &["gone.txt"]),
        (
            &["translate", "model", "--input", "one.txt", "--output", "two.txt"],
            &["two.txt: exists already"],
        ),
        (&["translate", "nowhere"], &["nowhere"]),
        (&["score", "one.txt", "two.txt"], &["two.txt: expected 1 line as in one.txt, got 2"]),
        (&["score", "empty.txt", "empty.txt"], &["expected"]),
        (&["materialise", "model", "--to", "x"], &["generator.safetensors"]),
    ];
    for (arguments, expected) in cases {
        let said = refused(dir.path(), &[arguments, &["--data", "embedded"]].concat());
        assert!(expected.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    }

    let vocabulary = std::fs::read_to_string(path("model/bpe.source.json")).expect("a vocabulary");
    std::fs::copy(path("model/bpe.target.json"), path("model/bpe.source.json")).expect("a copy");
    let said =
        refused(dir.path(), &["translate", "model", "--input", "one.txt", "--data", "embedded"]);
    assert!(said.contains("vocabulary"), "{said}");
    std::fs::write(path("model/bpe.source.json"), &vocabulary[..vocabulary.len() / 2])
        .expect("a file");
    let said =
        refused(dir.path(), &["translate", "model", "--input", "one.txt", "--data", "embedded"]);
    assert!(said.contains("bpe.source.json"), "{said}");

    let text = path("text");
    std::fs::create_dir(&text).expect("a folder");
    for (name, content) in [("train", "a\nb\n"), ("valid", "a\n"), ("test", "a\n")] {
        std::fs::write(text.join(format!("{name}.en")), content).expect("a file");
        std::fs::write(text.join(format!("{name}.de")), content).expect("a file");
    }
    std::fs::write(text.join("train.de"), "a\n").expect("a file");
    let said = refused(dir.path(), &["run", "small", "--data", "directory", "--data-dir", "text"]);
    assert!(said.contains("train.de") && said.contains('2') && said.contains('1'), "{said}");
    let said = refused(dir.path(), &["run", "small", "--data", "multi30k"]);
    assert!(said.contains("HF_HUB_OFFLINE"), "{said}");
}

/// The binary on the small experiment with `from` replaced by `to` wherever it stands; what it says
/// as it refuses.
fn refused_with(from: &str, to: &str) -> String {
    let dir = folder();
    let experiments = dir.path().join("experiments");
    std::fs::create_dir_all(experiments.join("weight-distill")).expect("a folder");
    let own =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments/weight-distill/small.toml");
    let text = std::fs::read_to_string(own).expect("a file");
    assert!(text.contains(from), "{from:?} is not in the experiment");
    std::fs::write(experiments.join("weight-distill/small.toml"), text.replace(from, to))
        .expect("a file");
    let output = command_with(&experiments, dir.path(), &RUN).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{to:?}: {said}");
    assert!(!said.contains("done "), "{to:?}: something was trained\n{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(errors.len(), 1, "{to:?}: {said}");
    errors[0].to_owned()
}

#[test]
fn a_row_without_the_cells_that_it_needs_is_refused_before_anything_is_trained() {
    let cases = [
        (
            "needs = { start = \"generated\", pseudo = \"pseudo\" }",
            "",
            "needs.start: expected one cell of kind train or generate, got 0",
        ),
        (
            "needs = { start = \"generated\", pseudo = \"pseudo\" }",
            "needs = { start = \"pseudo\" }",
            "needs.start: expected one cell of kind train or generate, got small/pseudo seed 1 of kind pseudo",
        ),
        (
            "needs = { teacher = \"teacher\", pseudo = \"pseudo\" }",
            "needs = { teacher = \"teacher\", pseudo = \"teacher\" }",
            "needs.pseudo: expected at most one cell of kind pseudo, got small/teacher seed 1 of kind train",
        ),
        (
            "needs = { of = \"wd\", from = \"kd\" }",
            "needs = { of = \"wd\" }",
            "needs.from: expected one cell of kind train or generate, got 0",
        ),
        (
            "limit = 400 }\nsearch = { beam = 2",
            "limit = 300 }\nsearch = { beam = 2",
            "needs.teacher: expected the text of this cell",
        ),
        (
            "\"difference\" }",
            "\"differences\" }",
            "has no metric `differences`; did you mean `difference`?",
        ),
        (
            "start = \"network\"",
            "start = \"random\"",
            "needs.start: this cell has no such need; known: pseudo",
        ),
    ];
    for (from, to, part) in cases {
        let said = refused_with(from, to);
        assert!(said.contains(part), "expected {part:?} in\n{said}");
    }
}

#[test]
fn a_learning_rate_that_no_loss_survives_is_the_users_to_mend() {
    let said = refused_with("learning-rate = 0.003", "learning-rate = 1e30");
    assert!(said.contains("training stopped; a lower learning rate may"), "{said}");
    let said = refused_with("vocabulary = 150", "vocabulary = 1000000000000000000");
    assert!(said.contains("text.vocabulary: expected 2 to 16777216"), "{said}");
}
