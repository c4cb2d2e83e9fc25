//! Against the real Multi30k, where it is on this machine; otherwise this says that it was skipped.

use kd_core::data::hub::Hub;
use kd_translation::Vocabularies;
use kd_translation::bitext::{Corpus, hub};
use kd_translation::bpe::BpeSettings;

#[test]
fn multi30k_has_its_numbers_and_its_content() {
    let corpus = Corpus::Multi30k;
    let Some(files) = Hub::from_env().find(&corpus.listing()).unwrap() else {
        eprintln!("skipped: bentrevett/multi30k is not in the Hugging Face cache (HF_HOME)");
        return;
    };
    let (splits, all) = hub::read(corpus, &files, &corpus.languages(), None, true).unwrap();
    assert_eq!(all, 29_000);
    assert_eq!(splits.content_hash(), "75d825008c38a1bf");
}

#[test]
fn sentences_of_multi30k_come_back_from_their_tokens() {
    let corpus = Corpus::Multi30k;
    let Some(files) = Hub::from_env().find(&corpus.listing()).unwrap() else {
        eprintln!("skipped: bentrevett/multi30k is not in the Hugging Face cache (HF_HOME)");
        return;
    };
    let (splits, _) = hub::read(corpus, &files, &corpus.languages(), None, true).unwrap();
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
