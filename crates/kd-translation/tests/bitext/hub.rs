use std::path::Path;

use kd_core::data::DataError;
use kd_translation::bitext::{Bitext, BitextRequest, BitextSource, Corpus, Toy, load};
use tempfile::TempDir;

use crate::fixtures::{corpus, fill, jsonl, languages, message, offline, parquet};

fn request(source: BitextSource, cache: &Path) -> BitextRequest {
    let toy = Toy { train: 20, validation: 4, test: 3, seed: 0 };
    BitextRequest { hub: offline(cache), original: false, toy, ..BitextRequest::new(source, None) }
}

fn multi30k(cache: &Path) {
    let corpus = corpus();
    let files = [&corpus.train, &corpus.validation, &corpus.test]
        .map(|part| jsonl(part, &languages("en-de")));
    fill(cache, &Corpus::Multi30k.listing(), &files);
}

#[test]
fn a_cached_corpus_needs_no_server() {
    let cache = TempDir::new().unwrap();
    multi30k(cache.path());
    for source in [BitextSource::Auto, BitextSource::Corpus(Corpus::Multi30k)] {
        let (splits, provenance) = load(&request(source, cache.path())).unwrap();
        assert_eq!((&splits, provenance.dataset, provenance.note), (&corpus(), "multi30k", None));
        assert!(provenance.found.ends_with("/train.jsonl (en-de)"), "{}", provenance.found);
        assert_eq!(provenance.content, splits.content_hash());
    }
    let turned = BitextRequest {
        languages: Some(languages("de-en")),
        ..request(BitextSource::Auto, cache.path())
    };
    assert_eq!(load(&turned).unwrap().0.test.source, corpus().test.target);
}

#[test]
fn without_a_server_auto_generates_and_says_so_and_a_named_corpus_fails() {
    let cache = TempDir::new().unwrap();
    let (splits, provenance) = load(&request(BitextSource::Auto, cache.path())).unwrap();
    assert_eq!((splits.train.len(), provenance.dataset), (20, "embedded"));
    assert_eq!(provenance.found, "generated: 20 + 4 + 3 pairs, seed 0");
    for corpus in Corpus::ALL {
        let error = load(&request(BitextSource::Corpus(corpus), cache.path())).unwrap_err();
        assert!(matches!(error, DataError::Unreachable { .. }), "{error}");
    }
    insta::assert_snapshot!(provenance.note.unwrap(), @"bentrevett/multi30k: not in the Hugging Face cache and not downloaded from http://127.0.0.1:1: HF_HUB_OFFLINE is set; using a generated language pair instead, whose results are not Multi30k's");
    assert_eq!(load(&request(BitextSource::Embedded, cache.path())).unwrap().1.note, None);
}

#[test]
fn a_task_of_wmt_is_read_from_its_tables_in_order() {
    let (cache, all) = (TempDir::new().unwrap(), corpus());
    let part = |from: usize, to: usize| Bitext {
        source: all.train.source[from..to].to_vec(),
        target: all.train.target[from..to].to_vec(),
    };
    let files = [part(0, 13), part(13, 14), part(14, 40), all.validation.clone(), all.test.clone()]
        .map(|part| parquet(&part));
    fill(cache.path(), &Corpus::Wmt14DeEn.listing(), &files);
    let request = request(BitextSource::Corpus(Corpus::Wmt14DeEn), cache.path());
    let (splits, provenance) = load(&request).unwrap();
    assert_eq!((&splits, provenance.dataset), (&all, "wmt14-de-en"));
    let limited = BitextRequest { train_limit: Some(7), ..request.clone() };
    let (splits, provenance) = load(&limited).unwrap();
    assert_eq!(splits.train, all.train.clone().evenly_spaced(7));
    assert!(provenance.found.ends_with("(en-de; 7 of 40 training pairs)"), "{}", provenance.found);
    let turned = BitextRequest { languages: Some(languages("de-en")), ..request };
    assert_eq!(load(&turned).unwrap().0.train.source, all.train.target);
}

#[test]
fn a_corrupt_or_foreign_cache_is_an_error_even_for_auto() {
    let cache = TempDir::new().unwrap();
    multi30k(cache.path());
    let foreign =
        load(&BitextRequest { original: true, ..request(BitextSource::Auto, cache.path()) })
            .unwrap_err();
    let all = corpus();
    let files = [&all.train, &all.validation, &all.test].map(parquet);
    fill(cache.path(), &Corpus::Wmt16RoEn.listing(), &files);
    let task = BitextSource::Corpus(Corpus::Wmt16RoEn);
    let columns = load(&request(task, cache.path())).unwrap_err();
    let small = load(&BitextRequest { original: true, ..request(task, cache.path()) }).unwrap_err();
    fill(
        cache.path(),
        &Corpus::Multi30k.listing(),
        &[jsonl(&all.train, &languages("en-de")), b"{}\n".to_vec(), b"{}\n".to_vec()],
    );
    let corrupt = load(&request(BitextSource::Auto, cache.path())).unwrap_err();
    let messages = [foreign, columns, small, corrupt].map(|e| {
        let e = kd_core::Error::from(e);
        assert!(e.is_bad_input());
        message(e, cache.path())
    });
    insta::assert_snapshot!(messages.join("\n"), @r#"
    DIR/datasets--bentrevett--multi30k/snapshots/0123456789abcdef0123456789abcdef01234567/train.jsonl: expected the file that the hub published, with SHA-256 4a7268d73a573432bf378f1cf6824bc7544439ad24337504a139bc42b470821c, got c2006d633195f5c3d53c80b3a7878fa09cf152c7586226fef7c711fe86c00112; delete DIR/datasets--bentrevett--multi30k, and it is downloaded again
    DIR/datasets--wmt--wmt16/snapshots/0123456789abcdef0123456789abcdef01234567/ro-en/train/0000.parquet: expected a Parquet table of translations, got no column translation.ro; delete DIR/datasets--wmt--wmt16, and it is downloaded again
    DIR/datasets--wmt--wmt16/snapshots/0123456789abcdef0123456789abcdef01234567/ro-en/train/0000.parquet: expected the sentence pairs of WMT16 Ro-En (610320 pairs), got 40; delete DIR/datasets--wmt--wmt16, and it is downloaded again
    DIR/datasets--bentrevett--multi30k/snapshots/0123456789abcdef0123456789abcdef01234567/val.jsonl: line 1: expected a JSON object with the strings "en" and "de", got no "en"; delete DIR/datasets--bentrevett--multi30k, and it is downloaded again
    "#);
}
