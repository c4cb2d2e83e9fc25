//! Vocabularies: the JSON of byte-pair tokenizers, and what is done with one that was accepted.

#![no_main]

use kd_translation::Bpe;
use kd_translation::bpe::BpeSettings;
use libfuzzer_sys::fuzz_target;

const TEXT: &str = "the thin thing, there\u{2581} <pad> ü";

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let train = |lines: &[&str], size| {
        let bpe = Bpe::train(lines, &BpeSettings::new(size)).expect("a vocabulary");
        // Compact, so that more of a mutation hits something that counts.
        let json: serde_json::Value = serde_json::from_str(bpe.to_json()).expect("JSON");
        json.to_string().into_bytes()
    };
    vec![("small", train(&["the thin thing", "there"], 24)), ("tiny", train(&["a a", "ab ab"], 10))]
}

fuzz_target!(init: kd_fuzz::start(seeds), |bytes: &[u8]| kd_fuzz::run(|| {
    let Ok(bpe) = Bpe::from_json(bytes, "input") else { return };
    let ids = bpe.encode(TEXT);
    assert!(ids.iter().all(|&id| (id as usize) < bpe.size()));
    let _ = bpe.decode(&ids);
    assert_eq!(bpe.encode_all(&[TEXT.to_string()]), [ids]);
    let again = Bpe::from_json(bpe.to_json().as_bytes(), "again").expect("its own JSON");
    assert_eq!(again.id(), bpe.id());
}));
