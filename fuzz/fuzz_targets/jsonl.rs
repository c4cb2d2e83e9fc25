//! JSON lines of sentence pairs, and folders of plain text. The first byte chooses.

#![no_main]

use kd_translation::bitext::{Languages, directory, jsonl};
use libfuzzer_sys::fuzz_target;

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let json = b"{\"en\": \"A dog.\", \"de\": \"Ein Hund.\"}\n{\"de\": \"Zwei\\nHunde \\u00fc\", \"en\": \"two\", \"n\": [1, {}]}\n";
    vec![
        ("pairs", kd_fuzz::chosen(0, json)),
        ("pairs-gzipped", kd_fuzz::chosen(1, json)),
        ("pairs-gzip", kd_fuzz::chosen(2, &kd_fuzz::gzip(json))),
        ("text", kd_fuzz::chosen(3, "\u{feff}A dog.\nTwo dogs.\n".as_bytes())),
    ]
}

fuzz_target!(init: kd_fuzz::start(seeds), |bytes: &[u8]| kd_fuzz::run(|| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let languages = Languages::new("en", "de").expect("two languages");
    let path = match choice % 4 {
        0 => kd_fuzz::file("input.jsonl", bytes),
        1 => kd_fuzz::file("input.jsonl.gz", &kd_fuzz::gzip(bytes)),
        2 => kd_fuzz::file("input.jsonl.gz", bytes),
        _ => {
            for (name, text) in [("train", bytes), ("valid", b"a\n"), ("test", b"a\n")] {
                kd_fuzz::file(&format!("{name}.en"), text);
                kd_fuzz::file(&format!("{name}.de"), text);
            }
            let _ = directory::load(&kd_fuzz::folder(), &languages);
            return;
        }
    };
    if let Ok(pairs) = jsonl::read(&path, &languages, choice & 4 == 0) {
        assert_eq!(pairs.source.len(), pairs.target.len());
        let lines = pairs.source.iter().chain(&pairs.target);
        assert!(lines.clone().all(|line| !line.contains(['\n', '\r'])));
        assert!(choice & 4 == 0 || lines.clone().all(|line| !line.is_empty()));
    }
}));
