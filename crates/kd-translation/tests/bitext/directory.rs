use std::fs;

use kd_translation::bitext::{
    Bitext, BitextRequest, BitextSource, BitextSplits, LengthLimits, cleaning, directory, jsonl,
    load,
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::allocations::peak_bytes;
use crate::fixtures::{
    corpus, gz, jsonl as json_lines, languages, message, offline, plain, text, write,
};

fn read(dir: &TempDir) -> Result<BitextSplits, String> {
    directory::load(dir.path(), &languages("en-de")).map_err(|e| message(e, dir.path()))
}

#[test]
fn a_corpus_comes_back_from_each_kind_of_files() {
    for parts in [["train", "valid", "test"], ["train", "val", "test"], ["train", "dev", "test"]] {
        for end in ["", ".gz"] {
            let dir = TempDir::new().unwrap();
            write(dir.path(), &corpus(), |p, s| format!("{}.{}{end}", parts[p], ["en", "de"][s]));
            assert_eq!(read(&dir).unwrap(), corpus(), "{parts:?}{end}");
        }
    }
    for end in ["", ".gz"] {
        let (dir, corpus) = (TempDir::new().unwrap(), corpus());
        for (name, part) in
            [("train", &corpus.train), ("val", &corpus.validation), ("test", &corpus.test)]
        {
            let bytes = json_lines(part, &languages("en-de"));
            fs::write(
                dir.path().join(format!("{name}.jsonl{end}")),
                if end.is_empty() { bytes } else { gz(&bytes) },
            )
            .unwrap();
        }
        assert_eq!(read(&dir).unwrap(), corpus);
    }
}

#[test]
fn the_other_direction_turns_the_sides() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), &corpus(), plain);
    let turned = directory::load(dir.path(), &languages("de-en")).unwrap();
    let train = corpus().train;
    assert_eq!(turned.train, Bitext { source: train.target, target: train.source });
    assert_ne!(turned.content_hash(), corpus().content_hash());
}

#[test]
fn line_ends_byte_order_marks_and_white_space_at_the_ends_do_not_matter() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), &corpus(), plain);
    let lines: Vec<String> =
        corpus().test.source.iter().map(|line| format!("  {line}\u{a0}\r")).collect();
    let mut bytes = "\u{feff}".as_bytes().to_vec();
    bytes.extend(text(&lines));
    // No line end behind the last one.
    bytes.pop();
    fs::write(dir.path().join("test.en"), bytes).unwrap();
    assert_eq!(read(&dir).unwrap(), corpus());
}

#[test]
fn a_test_set_may_have_several_references() {
    let (dir, corpus) = (TempDir::new().unwrap(), corpus());
    write(dir.path(), &corpus, plain);
    fs::rename(dir.path().join("test.de"), dir.path().join("test.de0")).unwrap();
    let more: Vec<String> = (0..5).map(|i| format!("reference {i}")).collect();
    fs::write(dir.path().join("test.de1.gz"), gz(&text(&more))).unwrap();
    // No reference 2, so this is none.
    fs::write(dir.path().join("test.de3"), "x\n").unwrap();
    let splits = read(&dir).unwrap();
    assert_eq!((&splits.test, &splits.more_references), (&corpus.test, &vec![more]));
    assert_eq!(splits.test_references()[4], [corpus.test.target[4].as_str(), "reference 4"]);
    assert_ne!(splits.content_hash(), corpus.content_hash());
}

#[test]
fn each_kind_of_bad_directory_has_its_message() {
    let bad = |change: &dyn Fn(&TempDir)| {
        let dir = TempDir::new().unwrap();
        write(dir.path(), &corpus(), plain);
        change(&dir);
        read(&dir).unwrap_err()
    };
    let with = |name: &'static str, bytes: &'static [u8]| {
        bad(&move |dir| fs::write(dir.path().join(name), bytes).unwrap())
    };
    let gzipped = |bytes: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        bad(&|dir| {
            fs::remove_file(dir.path().join("train.de")).unwrap();
            fs::write(dir.path().join("train.de.gz"), bytes(gz(&text(&corpus().train.target))))
                .unwrap();
        })
    };
    let jsonl = |line: &'static str| {
        bad(&move |dir| {
            fs::remove_file(dir.path().join("test.de")).unwrap();
            fs::write(
                dir.path().join("test.jsonl"),
                format!("{{\"en\": \"a\", \"de\": \"b\"}}\n{line}\n"),
            )
            .unwrap();
        })
    };
    let long = bad(&|dir| {
        fs::write(dir.path().join("train.en"), [b"a\n".to_vec(), vec![b'x'; 3 << 20]].concat())
            .unwrap()
    });
    let nothing = TempDir::new().unwrap();
    let messages = [
        read(&nothing).unwrap_err(),
        bad(&|dir| fs::remove_file(dir.path().join("valid.de")).unwrap()),
        with("train.en", b"one\ntwo\n"),
        with("test.de", b"one\n\nthree\nfour\nfive\n"),
        with("valid.en", b"one\n \t\nthree\n"),
        with("valid.en", b""),
        with("train.en", b"one\ntw\xffo\n"),
        long,
        gzipped(&|bytes| bytes[..bytes.len() / 2].to_vec()),
        gzipped(&|bytes| [bytes, b"more".to_vec()].concat()),
        // What is gzipped, the first bytes say, not the name.
        gzipped(&|_| b"no gzip".to_vec()),
        gzipped(&|_| b"<!DOCTYPE html><html>404</html>".to_vec()),
        jsonl("{\"en\": \"a\"}"),
        jsonl("{\"en\": \"a\", \"de\": 5}"),
        jsonl("{\"en\": \"a\", \"de\": \"\"}"),
        jsonl("[1, 2]"),
        jsonl("{\"en\": \"a\","),
        jsonl(""),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    DIR: parallel text files not found: train.en, train.de, valid.en, valid.de, test.en, test.de (one sentence a line, or .jsonl for both; plain or .gz; valid may be called val or dev)
    DIR: parallel text files not found: valid.de (one sentence a line, or .jsonl for both; plain or .gz; valid may be called val or dev)
    DIR/train.de: expected 2 lines, one for each of DIR/train.en, got 40
    DIR/test.de: line 2: expected a sentence, got an empty line
    DIR/valid.en: line 2: expected a sentence, got an empty line
    DIR/valid.en: expected 1 to 4294967295 lines, got 0
    DIR/train.en: line 2: expected UTF-8, got other bytes from byte 2 on
    DIR/train.en: line 2: expected at most 1048576 bytes, got more
    DIR/train.de.gz: not a whole gzip file: incomplete deflate stream
    DIR/train.de.gz: not a whole gzip file: bytes behind the gzip stream that are neither zeros nor another stream
    DIR/train.de.gz: expected 40 lines, one for each of DIR/train.en, got 1
    DIR/train.de.gz: expected a text, plain or gzipped, got an HTML page, as a server sends it in place of a file
    DIR/test.jsonl: line 2: expected a JSON object with the strings "en" and "de", got no "de"
    DIR/test.jsonl: line 2: expected a JSON object with the strings "en" and "de", got something else under "de"
    DIR/test.jsonl: line 2: expected a sentence, got an empty line
    DIR/test.jsonl: line 2: expected a JSON object with the strings "en" and "de", got invalid type: sequence, expected a map at line 1 column 0
    DIR/test.jsonl: line 2: expected a JSON object with the strings "en" and "de", got EOF while parsing a value at line 1 column 11
    DIR/test.jsonl: line 2: expected a JSON object with the strings "en" and "de", got an empty line
    "#);
}

#[test]
fn empty_training_lines_are_left_out_and_counted() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), &corpus(), plain);
    fs::write(dir.path().join("train.en"), "a b c\n\na b\na\nlong long long long long long\n")
        .unwrap();
    fs::write(dir.path().join("train.de"), "a b c\na\nb c d\na b c d\nlong\n").unwrap();
    let train = read(&dir).unwrap().train;
    assert_eq!((train.len(), train.source[1].as_str()), (5, ""));
    let limits = LengthLimits::new(5, 1.5).unwrap();
    let (kept, cleaning) = limits.clean(train, cleaning::words, cleaning::words);
    assert_eq!(kept.source, ["a b c", "a b"]);
    insta::assert_snapshot!(cleaning, @"kept 2 of 5 pairs; left out 1 empty, 1 too long, 1 by their ratio of lengths");
    assert_eq!(
        cleaning.pairs_in,
        cleaning.empty + cleaning.too_long + cleaning.ratio + cleaning.kept
    );
}

#[test]
fn limits_of_length_have_to_admit_something() {
    let messages =
        [LengthLimits::new(0, 2.0), LengthLimits::new(5, 0.5), LengthLimits::new(5, f64::NAN)]
            .map(|l| l.unwrap_err().to_string());
    insta::assert_snapshot!(messages.join("\n"), @r"
    most tokens of a sentence: expected at least 1, got 0
    largest ratio of lengths: expected at least 1, got 0.5
    largest ratio of lengths: expected at least 1, got NaN
    ");
    let any = LengthLimits::new(1, f64::INFINITY).unwrap();
    assert_eq!(any.judge(1, 1), cleaning::Verdict::Kept);
}

#[test]
fn a_directory_is_used_by_auto_and_by_name_and_never_left_for_the_hub() {
    let (dir, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(dir.path(), &corpus(), plain);
    let request = |source: &str| {
        let source: BitextSource = source.parse().unwrap();
        BitextRequest {
            hub: offline(cache.path()),
            ..BitextRequest::new(source, Some(dir.path().to_path_buf()))
        }
    };
    for (source, dataset) in
        [("auto", "directory"), ("directory", "directory"), ("multi30k", "multi30k")]
    {
        let (splits, provenance) = load(&request(source)).unwrap();
        assert_eq!((splits, provenance.dataset), (corpus(), dataset));
        assert_eq!(provenance.content, corpus().content_hash());
        assert_eq!(message(&provenance.found, dir.path()), "DIR (en-de)");
        let note = provenance.note.map(|note| message(note, dir.path()));
        let expected = (source == "multi30k")
            .then(|| "DIR: 40 + 6 + 5 pairs that are not the original Multi30k".to_string());
        assert_eq!(note, expected);
    }
    let limited = BitextRequest { train_limit: Some(10), ..request("auto") };
    let (splits, provenance) = load(&limited).unwrap();
    assert_eq!(message(provenance.found, dir.path()), "DIR (en-de; 10 of 40 training pairs)");
    assert_eq!(splits.train, corpus().train.evenly_spaced(10));
    fs::remove_file(dir.path().join("train.en")).unwrap();
    let messages = [
        load(&request("auto")).unwrap_err(),
        load(&request("embedded")).unwrap_err(),
        load(&BitextRequest { dir: None, ..request("directory") }).unwrap_err(),
        load(&BitextRequest { languages: Some(languages("en-ro")), ..request("multi30k") })
            .unwrap_err(),
        load(&BitextRequest { train_limit: Some(0), ..request("auto") }).unwrap_err(),
        "wmt14".parse::<BitextSource>().unwrap_err(),
        "en-en".parse::<kd_translation::bitext::Languages>().unwrap_err(),
    ];
    insta::assert_snapshot!(messages.map(|e| message(e, dir.path())).join("\n"), @r"
    DIR: parallel text files not found: train.en (one sentence a line, or .jsonl for both; plain or .gz; valid may be called val or dev)
    DIR: expected no data directory with generated data, got one
    data directory: expected a data directory with it, got none
    languages: expected en-de or de-en with multi30k, got en-ro
    training pairs: expected at least 1, got 0
    data: expected auto, multi30k, wmt16-ro-en, wmt14-de-en, directory or embedded, got wmt14
    languages: expected two different codes of letters, digits and underscores, such as en-de, got en-en
    ");
}

#[test]
fn spread_pairs_are_as_evenly_spaced_as_can_be() {
    let pairs: Bitext = (0..10).map(|i| (i.to_string(), String::new())).collect();
    assert_eq!(pairs.clone().evenly_spaced(3).source, ["3", "6", "9"]);
    assert_eq!(pairs.clone().evenly_spaced(10), pairs);
    assert_eq!(pairs.clone().evenly_spaced(usize::MAX), pairs);
    assert!(pairs.clone().evenly_spaced(0).is_empty());
    for limit in 0..=10 {
        assert_eq!(pairs.clone().evenly_spaced(limit).len(), limit);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_text_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), gzip in any::<bool>(), json in any::<bool>()) {
        let dir = TempDir::new().unwrap();
        write(dir.path(), &corpus(), plain);
        let name = match (json, gzip) {
            (false, false) => "test.de",
            (false, true) => "test.de.gz",
            (true, false) => "test.jsonl",
            (true, true) => "test.jsonl.gz",
        };
        fs::remove_file(dir.path().join("test.de")).unwrap();
        fs::write(dir.path().join(name), &bytes).unwrap();
        let (read, most) = peak_bytes(|| read(&dir));
        if let Ok(splits) = read {
            prop_assert_eq!(splits.test.source.len(), splits.test.target.len());
            prop_assert!(splits.test.pairs().all(|(s, t)| !s.is_empty() && !t.is_empty()));
        }
        prop_assert!(most < 4 << 20, "{} bytes", most);
    }

    #[test]
    fn changed_gzip_and_json_files_are_text_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        gzip in any::<bool>(),
    ) {
        let dir = TempDir::new().unwrap();
        let bytes = json_lines(&corpus().train, &languages("en-de"));
        let mut bytes = if gzip { gz(&bytes) } else { bytes };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let path = dir.path().join(if gzip { "train.jsonl.gz" } else { "train.jsonl" });
        fs::write(&path, bytes).unwrap();
        let (read, most) = peak_bytes(|| jsonl::read(&path, &languages("en-de"), true));
        if let Ok(pairs) = read {
            prop_assert_eq!(pairs.source.len(), pairs.target.len());
        }
        prop_assert!(most < 4 << 20, "{} bytes", most);
    }
}
