//! Repeats, threads, kills, and what a trained network is good for.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;

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
