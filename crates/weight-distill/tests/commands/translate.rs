//! `translate` in a pipe, and files that cannot be translated.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;

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
