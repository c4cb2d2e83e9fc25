//! Byte-pair vocabularies: special tokens, exact round trips, the same bytes from each training,
//! and what is refused.

use std::fs;
use std::path::Path;

use kd_core::data::DataError;
use kd_translation::bitext::{Toy, toy};
use kd_translation::bpe::{BOS, BpeSettings, EOS, PAD, UNK, VocabularyId};
use kd_translation::{Bitext, Bpe, Vocabularies};
use proptest::prelude::*;
use tempfile::TempDir;

fn text() -> Bitext {
    toy::generate(&Toy { train: 1500, validation: 1, test: 1, seed: 0 }).unwrap().train
}

fn lines(side: &[String]) -> Vec<&str> {
    side.iter().map(String::as_str).collect()
}

fn trained(lines: &[&str], size: usize) -> Bpe {
    Bpe::train(lines, &BpeSettings::new(size)).unwrap()
}

#[test]
fn special_tokens_have_the_first_ids() {
    let bpe = trained(&lines(&text().target), 300);
    assert_eq!(
        (0..4).filter_map(|id| bpe.token(id)).collect::<Vec<_>>(),
        ["<pad>", "<s>", "</s>", "<unk>"]
    );
    assert_eq!([PAD, BOS, EOS, UNK], [0, 1, 2, 3]);
    assert_eq!((bpe.size(), bpe.token(300)), (300, None));
}

#[test]
fn frequent_words_become_one_token_and_text_comes_back() {
    let text = text();
    let bpe = trained(&lines(&text.source), 400);
    assert_eq!(bpe.encode("the").len(), 1);
    let (mut tokens, mut words) = (0, 0);
    for line in &text.source {
        let ids = bpe.encode(line);
        assert!(ids.iter().all(|&id| id > UNK && (id as usize) < bpe.size()));
        assert_eq!(bpe.decode(&ids), *line);
        (tokens, words) = (tokens + ids.len(), words + line.split(' ').count());
    }
    assert!(tokens < 2 * words, "{tokens} tokens for {words} words");
}

#[test]
fn spaces_come_back_wherever_they_are() {
    let bpe = trained(&["ab cd, (ab) \"cd\"."], 30);
    for text in [
        "",
        " ",
        "  ",
        " ab",
        "ab ",
        "  ab   cd  ",
        "ab,cd",
        "(ab",
        "ab ,",
        ", ab",
        "a.b.c.",
        "\"ab\" , (cd)",
    ] {
        assert_eq!(bpe.decode(&bpe.encode(text)), text, "{text:?}");
    }
    assert!(bpe.encode("").is_empty());
}

#[test]
fn no_token_reaches_over_punctuation_or_spaces() {
    let bpe = trained(&["ab. ab. ab. ab, ab,cd ab,cd ab,cd"; 20], 100);
    for id in 4..bpe.size() as u32 {
        let token = bpe.token(id).unwrap();
        assert!(token.chars().count() == 1 || !token.contains(['.', ',']), "{token}");
        assert!(!token.trim_start_matches('▁').contains('▁'), "{token}");
    }
}

#[test]
fn characters_that_were_never_seen_are_unknown_and_show() {
    let bpe = trained(&["ab cd", "ab"], 30);
    let ids = bpe.encode("ab ☃cd ▁");
    assert_eq!(ids.iter().filter(|&&id| id == UNK).count(), 2);
    assert_eq!(bpe.decode(&ids), "ab <unk>cd <unk>");
    assert_eq!(bpe.decode(&[BOS, ids[0], EOS, PAD, PAD, 999]), "ab<unk>");
}

#[test]
fn the_names_of_special_tokens_are_ordinary_text() {
    let lines = ["a </s> b <s> c <pad> d <unk> </s> </s>"; 30];
    let bpe = trained(&lines, 200);
    let ids = bpe.encode(lines[0]);
    assert!(ids.iter().all(|&id| id > UNK), "{ids:?}");
    assert_eq!(bpe.decode(&ids), lines[0]);
}

#[test]
fn rare_characters_make_room() {
    let lines = ["aaaa bbb cc d"; 5];
    let bpe =
        Bpe::train(&lines, &BpeSettings { size: 20, characters: 2, min_frequency: 100 }).unwrap();
    assert_eq!(
        (4..bpe.size() as u32).filter_map(|id| bpe.token(id)).collect::<Vec<_>>(),
        ["a", "b", "▁"]
    );
    assert_eq!(bpe.decode(&bpe.encode("a b c")), "a b <unk>");
}

#[test]
fn each_training_gives_the_same_bytes_whatever_the_order_and_the_threads() {
    let text = text();
    let mut lines = [lines(&text.source), lines(&text.target)].concat();
    let first = trained(&lines, 600);
    for turn in 0..6 {
        lines.rotate_left(500 * turn + 1);
        assert_eq!(trained(&lines, 600).to_json(), first.to_json(), "turn {turn}");
    }
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(alone.install(|| trained(&lines, 600)).to_json(), first.to_json());
    // Our own pin: no other program trains to this file. A change orphans every saved translator.
    assert_eq!(first.id().hash, "23483fca269bdae5");
}

#[test]
fn the_file_does_in_the_tokenizers_crate_what_it_does_here() {
    let text = text();
    let bpe = trained(&lines(&text.target), 300);
    let other: tokenizers::Tokenizer = bpe.to_json().parse().unwrap();
    let more = ["ab,cd.", "  two  spaces ", "«Übergang» – 5,6 (…)", "☃ snow", "a-b_c/d"];
    for line in text.target.iter().map(String::as_str).take(300).chain(more) {
        // That crate cannot tell whether text begins with a space.
        let line = line.trim_start();
        let ids = bpe.encode(line);
        assert_eq!(other.encode(line, false).unwrap().get_ids(), ids, "{line:?}");
        if !ids.contains(&UNK) {
            assert_eq!(other.decode(&ids, true).unwrap(), line);
        }
    }
    assert_eq!(other.token_to_id("</s>"), Some(EOS));
}

#[test]
fn vocabularies_are_saved_and_loaded_as_one_or_two_files() {
    let (text, settings) = (text(), BpeSettings::new(250));
    for (joint, files) in
        [(true, vec!["bpe.json"]), (false, vec!["bpe.source.json", "bpe.target.json"])]
    {
        let dir = TempDir::new().unwrap();
        let made = Vocabularies::train(&text, &settings, joint).unwrap();
        assert_eq!(made.joint(), joint);
        made.save(dir.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, files);
        let loaded = Vocabularies::load(dir.path()).unwrap();
        assert_eq!(loaded, made);
        let pairs = loaded.encode(&text);
        assert!(
            text.source
                .iter()
                .zip(&pairs.source)
                .all(|(line, ids)| made.source.encode(line) == *ids)
        );
        assert_eq!(
            (pairs.source.len(), loaded.target.decode(&pairs.target[7])),
            (text.len(), text.target[7].clone())
        );
    }
}

#[test]
fn a_vocabulary_of_something_else_is_refused() {
    let bpe = trained(&["ab cd ab"], 30);
    assert!(bpe.check(&bpe.id().clone(), "teacher").is_ok());
    let other = VocabularyId { size: 9, hash: "0123456789abcdef".to_string() };
    let error = bpe.check(&other, "runs/abc/teacher.safetensors").unwrap_err();
    insta::assert_snapshot!(error, @"runs/abc/teacher.safetensors: expected a vocabulary of 9 tokens with the hash 0123456789abcdef, got one of 11 tokens with the hash 621d63be9a46fb62");
    assert!(kd_core::Error::from(error).is_bad_input());
}

#[test]
fn each_kind_of_bad_vocabulary_has_its_message() {
    let json = trained(&["ab cd ab"], 12).to_json().to_string();
    let dir = TempDir::new().unwrap();
    let load = |bytes: &[u8]| -> Result<Bpe, DataError> {
        let path = dir.path().join("bpe.json");
        fs::write(&path, bytes).unwrap();
        Bpe::load(&path)
    };
    assert!(load(json.as_bytes()).is_ok());
    let with = |from: &str, to: &str| {
        assert!(json.contains(from), "{json}");
        load(json.replace(from, to).as_bytes()).unwrap_err()
    };
    let errors = [
        load(b"{}").unwrap_err(),
        load(&json.as_bytes()[..json.len() / 2]).unwrap_err(),
        load(b"\xff\xfe").unwrap_err(),
        with("\"type\": \"BPE\"", "\"type\": \"WordLevel\""),
        with("\"a\": 4", "\"a\": 4000000000"),
        with("\"a\": 4", "\"a\": 5"),
        with("\"<pad>\": 0,\n      \"<s>\": 1", "\"<s>\": 0,\n      \"<pad>\": 1"),
        with("\"dropout\": null", "\"dropout\": 0.1"),
        with("\"normalizer\": null", "\"normalizer\": {\"type\": \"Lowercase\"}"),
        Bpe::load(&dir.path().join("none.json")).unwrap_err(),
        Bpe::train(&[], &BpeSettings::new(9)).unwrap_err(),
        Bpe::train(&[" ", ""], &BpeSettings::new(9)).unwrap_err(),
        Bpe::train(&["abc"], &BpeSettings::new(7)).unwrap_err(),
    ];
    let text = |e: &DataError| e.to_string().replace(&dir.path().display().to_string(), "DIR");
    assert!(errors.iter().all(|e| !text(e).contains('\n')));
    insta::assert_snapshot!(errors.iter().map(text).collect::<Vec<_>>().join("\n"), @r#"
    DIR/bpe.json: expected a vocabulary in the JSON of a byte-pair tokenizer, got other JSON
    DIR/bpe.json: expected a vocabulary in the JSON of a byte-pair tokenizer, got EOF while parsing an object at line 48 column 5
    DIR/bpe.json: expected a vocabulary in the JSON of a byte-pair tokenizer, got expected value at line 1 column 1
    DIR/bpe.json: expected a vocabulary that cuts words at spaces and punctuation and does nothing else, got other settings
    DIR/bpe.json: expected a vocabulary with ids below its 11 tokens, got id 4000000000
    DIR/bpe.json: expected a vocabulary with one token for each id, got an id twice
    DIR/bpe.json: expected a vocabulary with the token "<pad>" at id 0, got "<s>"
    DIR/bpe.json: expected a vocabulary that cuts words at spaces and punctuation and does nothing else, got other settings
    DIR/bpe.json: expected a vocabulary that cuts words at spaces and punctuation and does nothing else, got other settings
    DIR/none.json: No such file or directory (os error 2)
    training text: expected a vocabulary of its characters, got no text
    training text: expected a vocabulary of its characters, got no text
    vocabulary size: expected at least 8, for the special tokens and 4 characters, got 7
    "#);
}

#[test]
fn a_folder_without_vocabularies_names_the_file() {
    let error = Vocabularies::load(Path::new("nowhere")).unwrap_err().to_string();
    assert!(error.starts_with("nowhere/bpe.source.json: "), "{error}");
}

proptest! {
    #[test]
    fn any_text_of_known_characters_comes_back(text in "[abcdö ,.'\"-]{0,60}") {
        let bpe = trained(&["abcd dcba ab, cd. ö 'a' \"b\" c-d ab ab cd cd"], 40);
        let ids = bpe.encode(&text);
        prop_assert!(ids.iter().all(|&id| id > UNK));
        prop_assert_eq!(bpe.decode(&ids), text);
    }

    #[test]
    fn any_text_at_all_is_encoded_to_ids_of_the_vocabulary(text in any::<String>()) {
        let bpe = trained(&["abcd ab, cd."], 20);
        prop_assert!(bpe.encode(&text).iter().all(|&id| id >= UNK && (id as usize) < bpe.size()));
    }

    #[test]
    fn text_round_trips_in_the_vocabulary_trained_on_it(lines in prop::collection::vec("\\PC{1,20}", 1..5)) {
        let refs = lines.iter().map(String::as_str).collect::<Vec<_>>();
        let Ok(bpe) = Bpe::train(&refs, &BpeSettings { size: 300, characters: 200, min_frequency: 1 }) else { return Ok(()) };
        for line in refs {
            let ids = bpe.encode(line);
            prop_assert!(line.contains('▁') || !ids.contains(&UNK));
            prop_assert!(ids.contains(&UNK) || bpe.decode(&ids) == line);
        }
    }

    #[test]
    fn changed_bytes_of_a_file_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = trained(&["ab cd ab abc"], 14).to_json().as_bytes().to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(bpe) = Bpe::from_json(&bytes, "file") {
            prop_assert!(bpe.encode("ab cd☃").iter().all(|&id| (id as usize) < bpe.size()));
        }
    }
}
