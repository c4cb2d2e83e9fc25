use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use kd_core::data::DataError;
use kd_translation::bitext::{BitextRequest, BitextSource, Lines, MAX_LINE, load};
use tempfile::TempDir;

use crate::fixtures::{corpus, gz, plain, write};

fn of(bytes: &[u8]) -> Result<Vec<String>, DataError> {
    Lines::of("standard input", Cursor::new(bytes.to_vec())).collect()
}

#[test]
fn files_and_streams_are_read_to_the_same_lines() {
    let bytes = "\u{feff}one\r\n\n \t\ntwo\u{a0}words \nlast".as_bytes();
    let expected = ["one", "", "", "two\u{a0}words", "last"];
    assert_eq!(of(bytes).unwrap(), expected);
    let dir = TempDir::new().unwrap();
    let read = |name: &str, bytes: &[u8]| -> Vec<String> {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        Lines::open(&path).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(read("train.en", bytes), expected);
    assert_eq!(read("train.en.gz", &gz(bytes)), expected);
}

#[test]
fn the_longest_line_may_end_in_either_way_and_one_byte_more_is_refused() {
    let longest = vec![b'x'; MAX_LINE];
    for end in ["", "\n", "\r\n"] {
        let lines = of(&[&longest[..], end.as_bytes()].concat()).unwrap();
        assert_eq!((lines.len(), lines[0].len()), (1, MAX_LINE), "{end:?}");
        let error = of(&[b"x", &longest[..], end.as_bytes()].concat()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("standard input: line 1: expected at most {MAX_LINE} bytes, got more")
        );
    }
}

#[cfg(unix)]
#[test]
fn lines_come_while_the_stream_is_open_and_none_of_its_bytes_are_lost() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut lines = Lines::of("a pipe", reader);
    for text in ["a", "a somewhat longer line", "b"] {
        writer.write_all(format!("{text}\n").as_bytes()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), text);
    }
    drop(writer);
    assert!(lines.next().is_none());
}

#[test]
fn text_in_a_folder_is_tidied_and_keeps_the_name_of_what_stands_there() {
    let load = |dir: &Path| {
        load(&BitextRequest::new(BitextSource::Directory, Some(dir.to_path_buf()))).unwrap()
    };
    let (clean, loose) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let corpus = corpus();
    write(clean.path(), &corpus, plain);
    let mut blanks = corpus.clone();
    for line in blanks.train.source.iter_mut().chain(&mut blanks.test.target) {
        *line = format!("\t{} ", line.replace(' ', " \u{a0} "));
    }
    write(loose.path(), &blanks, plain);
    let ((clean, a), (loose, b)) = (load(clean.path()), load(loose.path()));
    assert_eq!((&clean, &loose), (&corpus, &corpus));
    assert_eq!(a.content, corpus.content_hash());
    assert_ne!(a.content, b.content, "these are other files");
}
