//! Against the real Multi30k. The tests are ignored unless they are asked for, because they need it
//! in the Hugging Face cache: `cargo test -p kd-translation --test bitext -- --ignored`.

use kd_core::data::hub::Hub;
use kd_translation::Vocabularies;
use kd_translation::bitext::{BitextSplits, Corpus, hub};
use kd_translation::bpe::BpeSettings;

/// The splits, and the number of pairs of the training set.
fn multi30k() -> (BitextSplits, u64) {
    let corpus = Corpus::Multi30k;
    let files = Hub::from_env().find(&corpus.listing()).unwrap();
    let files = files.expect("bentrevett/multi30k is in the Hugging Face cache (HF_HOME)");
    hub::read(corpus, &files, &corpus.languages(), None, true).unwrap()
}

#[test]
#[ignore = "needs Multi30k in the Hugging Face cache"]
fn multi30k_has_its_numbers_and_its_content() {
    let (splits, all) = multi30k();
    assert_eq!(all, 29_000);
    assert_eq!(Some(splits.content_hash().as_str()), Corpus::Multi30k.content());
}

#[test]
#[ignore = "needs Multi30k in the Hugging Face cache"]
fn sentences_of_multi30k_come_back_from_their_tokens() {
    let (splits, _) = multi30k();
    // The validation set stands in for the training set, which takes longer.
    let vocabularies =
        Vocabularies::train(&splits.validation, &BpeSettings::new(2000), true).unwrap();
    let pairs = vocabularies.encode(&splits.validation);
    for (ids, line) in pairs
        .source
        .iter()
        .zip(&splits.validation.source)
        .chain(pairs.target.iter().zip(&splits.validation.target))
    {
        assert_eq!(vocabularies.target.decode(ids), *line);
    }
}
